// What the console needs besides Unfold: dialogs that open when loaded, and say so when they cannot.
document.addEventListener("htmx:afterOnLoad", (event) => {
  if (!event.target.hasAttribute("data-dialog") || !document.querySelector("#modal-content #dialog")) return;
  Alpine.$data(document.documentElement).openModal = true;
  const field = document.querySelector("#modal-content textarea, #modal-content select");
  setTimeout(() => field && field.focus(), 50);
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
