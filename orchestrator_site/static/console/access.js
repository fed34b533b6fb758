// Unfold's page for those who do not see it or use no mouse: landmarks, and switches that keys reach.
const SWITCHES = "a[x-on\\:click]:not([href]), span.material-symbols-outlined[x-on\\:click], div.cursor-pointer[x-on\\:click]";
const NAMES = { dock_to_right: "Show or hide the menu", close: "Close the menu" };

document.addEventListener("DOMContentLoaded", () => {
  const main = document.getElementById("main") || document.getElementById("page");
  if (main && !document.querySelector("main")) main.setAttribute("role", "main");
  for (const one of document.querySelectorAll(SWITCHES)) {
    one.setAttribute("role", "button");
    one.setAttribute("tabindex", "0");
    const name = NAMES[one.textContent.trim()];
    if (name) one.setAttribute("aria-label", name);
  }
});

document.addEventListener("keydown", (event) => {
  if (!["Enter", " "].includes(event.key) || !event.target.matches(SWITCHES)) return;
  event.preventDefault();
  event.target.click();
});

// The filters lie over the list: the keys go on in them.
document.addEventListener("click", (event) => {
  if (!event.target.closest("a[x-on\\:click^='filterOpen']")) return;
  setTimeout(() => document.querySelector("#changelist-filter a[href]")?.focus(), 50);
});
