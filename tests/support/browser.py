"""A browser that looks at the console of a live server, and what it is shown."""

import shutil
from typing import Any

import requests

from tests.support.live import LiveServer

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
PASSWORD = "a-password-9"
INBOX = "/admin/approvals_app/approval/"


class Visitor:
    """A page of a signed-in browser that notes whatever should not be."""

    def __init__(self, browser: Any, server: LiveServer, width: int, scheme: str) -> None:
        """width: of the window, pixels. scheme: `light` or `dark`."""
        self.url = server.url
        self.context = browser.new_context(
            viewport={"width": width, "height": 850}, color_scheme=scheme
        )
        self.page = self.context.new_page()
        self.page.set_default_timeout(15_000)
        self.wrong: list[str] = []
        self.page.on(
            "request", lambda request: self.note(request.url, not self.is_ours(request.url))
        )
        self.page.on("console", lambda message: self.note(message.text, message.type == "error"))
        self.page.on("pageerror", lambda error: self.note(str(error), True))
        self.page.on(
            "response",
            lambda answer: self.note(f"{answer.status} {answer.url}", answer.status >= 400),
        )
        self.page.add_init_script("window.bad = () => console.error('a script of the payload ran')")
        self.page.add_init_script(
            "document.addEventListener('securitypolicyviolation',"
            " (told) => console.error(`${told.violatedDirective} refused ${told.blockedURI}`))"
        )

    def is_ours(self, address: str) -> bool:
        return address.startswith((self.url + "/", "data:"))

    def note(self, what: str, is_wrong: bool) -> None:
        if is_wrong:
            self.wrong.append(what)

    def go(self, path: str) -> None:
        self.page.goto(f"{self.url}/admin/{path}" if not path.startswith("/") else self.url + path)
        self.page.wait_for_load_state("networkidle")

    def login(self) -> "Visitor":
        self.go("")
        self.page.fill("[name=username]", "dana")
        self.page.fill("[name=password]", PASSWORD)
        self.page.click("button[type=submit]")
        self.page.wait_for_selector("text=Most urgent")
        return self

    def decide(self, verb: str, reason: str, within: str = "") -> None:
        """Press the button, fill the dialog, send it, and wait for the page to load again."""
        self.page.click(f"{within} .button-{verb}")
        self.page.wait_for_selector("#dialog textarea", state="visible")
        self.page.fill("#dialog textarea", reason)
        with self.page.expect_navigation():
            self.page.click("#dialog .dialog-submit")
        self.page.wait_for_load_state("networkidle")


def ask(server: LiveServer, method: str, path: str, **body: Any) -> Any:
    """Send a request to the API and return the answer."""
    headers = {"Authorization": f"Bearer {server.token()}"}
    answer = requests.request(
        method, server.url + path, json=body or None, headers=headers, timeout=10
    )
    answer.raise_for_status()
    return answer.json()


def hand_in(server: LiveServer, **new: Any) -> dict[str, str]:
    """Hand in a task; return its id and that of its approval."""
    task = ask(
        server,
        "POST",
        "/tasks",
        **{"type": "deployment", "payload": {"service": "shop"}, "priority": "P0"} | new,
    )
    waiting = ask(server, "GET", "/approvals/pending?limit=1000")["approvals"]
    return next(approval for approval in waiting if approval["task_id"] == task["task_id"])


def approval_of(server: LiveServer, task: dict[str, str]) -> dict[str, Any]:
    """Return the approval of a task as the API tells it."""
    return dict(ask(server, "GET", f"/approvals/{task['approval_id']}")["approval"])
