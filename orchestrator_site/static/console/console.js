// What the console needs besides Unfold: dialogs that open when loaded, keep what was typed, and say when they cannot.
const dialogs = { opener: null, path: "", early: null }; // early: what was typed before it had the focus
const isOpen = () => Alpine.$data(document.documentElement).openModal;
const draftOf = () => document.querySelector("#modal-content #dialog textarea");

document.addEventListener("htmx:afterOnLoad", (event) => {
  if (!event.target.hasAttribute("data-dialog") || !document.querySelector("#modal-content #dialog")) return;
  dialogs.opener = event.target;
  dialogs.path = "draft:" + new URL(event.target.href, location.href).pathname;
  Alpine.$data(document.documentElement).openModal = true;
  const field = document.querySelector("#modal-content textarea, #modal-content select");
  if (draftOf() && !draftOf().value) draftOf().value = sessionStorage.getItem(dialogs.path) || "";
  focusWhenShown(() => field || document.querySelector("#dialog .dialog-buttons .button"), 20);
});

// What is typed while a dialog is on its way is meant for it.
document.addEventListener("htmx:beforeRequest", (event) => {
  if (event.target.hasAttribute("data-dialog")) dialogs.early = "";
});
document.addEventListener("htmx:afterRequest", (event) => {
  if (!event.detail.successful) dialogs.early = null;
});
document.addEventListener("keydown", (event) => {
  const isText = event.key.length === 1 && !event.ctrlKey && !event.metaKey && !event.altKey;
  if (dialogs.early === null || !isText || event.target.matches("input, select, textarea")) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  if (!event.repeat) dialogs.early += event.key;
}, true);
function insertEarly() {
  const draft = draftOf();
  if (draft && dialogs.early) {
    draft.value += dialogs.early;
    draft.dispatchEvent(new Event("input", { bubbles: true }));
  }
  dialogs.early = null;
}

// What was typed outlives the dialog, until it is sent and taken.
document.addEventListener("input", (event) => {
  if (event.target === draftOf()) sessionStorage.setItem(dialogs.path, event.target.value);
});

// A refused form comes back with its text; what is wrong gets the focus.
document.addEventListener("htmx:afterSwap", (event) => {
  if (event.target.id !== "dialog-form" && !event.target.closest("#dialog")) return;
  const wrong = document.querySelector("#dialog .dialog-refusal, #dialog .errors textarea");
  if (wrong) wrong.focus();
});
document.addEventListener("htmx:beforeOnLoad", (event) => {
  if (event.detail.xhr.getResponseHeader("HX-Refresh")) sessionStorage.removeItem(dialogs.path);
});

// When a dialog closes, whoever opened it has the focus again; after a refusal the page below is out of date.
document.addEventListener("alpine:initialized", () => {
  Alpine.effect(() => {
    if (isOpen() || !dialogs.opener) return;
    const { opener } = dialogs;
    dialogs.opener = dialogs.early = null;
    if (document.querySelector("#dialog .dialog-refusal")) location.reload();
    else opener.focus();
  });
});

// A click beside the dialog does not close it once something is typed.
document.addEventListener("click", (event) => {
  const typed = isOpen() && draftOf() && draftOf().value.trim();
  if (!typed || event.target.closest("#modal-content")) return;
  event.preventDefault();
  event.stopImmediatePropagation();
}, true);

document.addEventListener("keydown", (event) => {
  const dialog = isOpen() && document.querySelector("#modal-content #dialog");
  if (event.key === " " && event.target.matches("a[role=button]")) {
    event.preventDefault();
    event.target.click();
  } else if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.matches("textarea")) {
    const submit = event.target.form && event.target.form.querySelector(".dialog-submit");
    if (submit && !submit.disabled) submit.click();
  } else if (event.key === "Tab" && dialog) {
    const stops = [...dialog.querySelectorAll("a[href], button, textarea, select, input")];
    const inside = stops.filter((stop) => stop.type !== "hidden" && !stop.disabled && stop.offsetParent);
    const at = inside.indexOf(document.activeElement);
    const next = event.shiftKey ? at - 1 : at + 1;
    if (at >= 0 && inside[next]) return;
    event.preventDefault();
    inside[event.shiftKey ? inside.length - 1 : 0].focus();
  }
});

// A session that ended answers with the login page: load this page again, it leads there.
document.addEventListener("htmx:beforeSwap", (event) => {
  if (new URL(event.detail.xhr.responseURL).pathname.endsWith("/login/")) {
    event.detail.shouldSwap = false;
    location.reload();
  }
});

function complain(event) {
  const status = event.detail.xhr ? event.detail.xhr.status : 0;
  const sentences = { 0: "The service cannot be reached.", 403: "Your account may not do this, or this page is too old: load it again.", 404: "This is no longer there: load the page again.", 503: "The service has no database just now. Try again shortly." };
  const notice = document.createElement("p");
  notice.className = "notice notice-danger toast";
  notice.setAttribute("role", "alert");
  notice.textContent = sentences[status] || "The service failed. The fault has been logged.";
  document.body.append(notice);
  setTimeout(() => notice.remove(), 6000);
}
document.addEventListener("htmx:responseError", complain);
document.addEventListener("htmx:sendError", complain);

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const source = document.querySelector(button.dataset.copy);
  if (navigator.clipboard) {
    navigator.clipboard.writeText(source.textContent).then(() => { button.textContent = "Copied"; });
  } else { // without TLS there is no clipboard: mark the text instead
    getSelection().selectAllChildren(source);
  }
});

// What is still hidden takes no focus: a slow page shows a dialog later than it has it.
function focusWhenShown(find, tries) {
  setTimeout(() => {
    const target = find();
    if (target) target.focus();
    if (document.activeElement !== target && tries > 0) focusWhenShown(find, tries - 1);
    else insertEarly();
  }, 50);
}
