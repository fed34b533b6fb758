// ReDoc's bundle shows a logo from another host. Pictures of other hosts get no address, so nothing is asked for.
"use strict";

const isOurs = (address) => ["null", location.origin].includes(new URL(address, document.baseURI).origin);
const picture = HTMLImageElement.prototype;
const source = Object.getOwnPropertyDescriptor(picture, "src");

Object.defineProperty(picture, "src", {
  ...source,
  set(address) {
    if (isOurs(address)) source.set.call(this, address);
  },
});
picture.setAttribute = function (name, value) {
  if (name !== "src" || isOurs(value)) Element.prototype.setAttribute.call(this, name, value);
};
