"""Webhooks in the console: what is sent where, what did not arrive, and the dialogs for it."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from django.test import Client

from events_app.models import Delivery, Event, Subscription
from events_app.services import publish
from events_app.webhooks import fan_out, sender
from events_app.webhooks import services as webhooks
from orchestrator_site.core.actors import Actor
from tests.support import console

Login = Callable[..., Client]
login = console.login
SUBMITTED = {"_form_submitted": "True"}
LIST = "/admin/events_app/subscription/"


@pytest.fixture
def subscription(db: None, admin: Actor, dev: Actor, now: datetime) -> Subscription:
    """A subscription with one delivery that was given up."""
    made = webhooks.subscribe(
        url="https://hook.example.com/in?token=hush", types=["pr.*"], by=admin, now=now
    )
    publish(event_type="pr.merged", source_agent="dev_agent", by=dev, now=now)
    fan_out.fan_out(now=now)
    [delivery] = Delivery.objects.all()
    answer = "<script>alert(1)</script>"
    outcome = sender.Outcome(500, 12, "The receiver answered 500.", answer=answer)
    Delivery.objects.update(
        status="dead", attempts=10, log=sender.log_with(delivery, outcome, now=now)
    )
    return made


def press(client: Client, subscription: Subscription, verb: str, **form: str) -> Any:
    return client.post(f"{LIST}{subscription.subscription_id}/{verb}/", {**SUBMITTED, **form})


def test_the_list_shows_the_host_and_how_it_fares_but_no_secret(
    login: Login, subscription: Subscription
) -> None:
    page = login(None).get(LIST).content.decode()

    assert (
        "hook.example.com" in page and "1 given up" in page and subscription.subscription_id in page
    )
    assert "hush" not in page and subscription.secret not in page


def test_a_page_shows_one_and_its_deliveries(login: Login, subscription: Subscription) -> None:
    client = login(None)
    page = client.get(f"{LIST}{subscription.subscription_id}/change/").content.decode()

    assert (
        "pr.merged" in page and "The receiver answered 500." in page and "Rotate the secret" in page
    )
    assert subscription.secret not in page
    delivery = Delivery.objects.get()
    shown = client.get(f"/admin/events_app/delivery/{delivery.pk}/change/").content.decode()
    assert "&lt;script&gt;alert(1)" in shown and "12 ms" in shown
    assert "+00:00," not in shown and "ago</time>" in shown
    listed = client.get(
        f"/admin/events_app/delivery/?status=dead&q={subscription.subscription_id}"
    ).content.decode()
    assert delivery.event_id in listed


def page_of(client: Client, subscription: Subscription) -> str:
    return str(client.get(f"{LIST}{subscription.subscription_id}/change/").content.decode())


def test_a_new_secret_is_shown_once(login: Login, subscription: Subscription) -> None:
    client = login(None)

    answer = press(client, subscription, "rotate")

    changed = Subscription.objects.get()
    assert changed.secret != subscription.secret and changed.previous_secret == subscription.secret
    assert changed.secret not in answer.content.decode()
    shown = client.get(f"{LIST}{subscription.subscription_id}/change/")
    assert changed.secret in shown.content.decode() and "no-store" in shown.headers["Cache-Control"]
    assert changed.secret not in page_of(client, subscription)


def test_a_secret_that_waits_to_be_shown_is_nowhere_in_clear(
    login: Login, subscription: Subscription
) -> None:
    client = login(None)

    press(client, subscription, "rotate")

    secret = Subscription.objects.get().secret
    kept = (str(dict(client.session)), client.cookies["shown_once"].value)
    assert all(secret not in one and secret.encode().hex() not in one for one in kept)
    client.cookies["shown_once"] = "zz"
    assert secret not in page_of(client, subscription)


@pytest.mark.parametrize(
    ("group", "shown"), [("Viewers", False), ("Approvers", False), ("Operators", True)]
)
def test_the_whole_url_is_for_those_who_may_change_it(
    login: Login, subscription: Subscription, group: str, shown: bool
) -> None:
    page = page_of(login(group), subscription)

    assert ("hush" in page) is shown
    assert "hook.example.com" in page


def test_an_operator_makes_a_webhook(login: Login) -> None:
    client = login("Operators", name="olga")
    form = {
        "url": "https://hook.example.com/in?key=hush",
        "types": "task.*, sla.violation",
        "format": "json",
    }

    page = client.post(f"{LIST}add/", form, follow=True).content.decode()

    made = Subscription.objects.get()
    assert (made.types, made.created_by) == (["task.*", "sla.violation"], "olga")
    assert made.secret in page and "Webhook to hook.example.com: made." in page
    assert Event.objects.get(event_type="subscription.created").publisher == "olga"


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"url": "http://hook.example.com:99/"}, "port"),
        ({"url": "https://127.0.0.1/in"}, "public"),
        ({"url": "not a url"}, "must look like"),
        ({"types": "no!type"}, "Not a type"),
        ({"types": " "}, "required"),
        ({"format": "xml"}, "Select a valid choice"),
    ],
)
def test_a_webhook_that_cannot_be_is_refused(login: Login, form: dict[str, str], said: str) -> None:
    sent = {"url": "https://hook.example.com/in", "types": "*", "format": "json", **form}

    answer = login("Operators").post(f"{LIST}add/", sent)

    assert answer.status_code == 200 and said in answer.content.decode()
    assert not Subscription.objects.exists()


def test_as_many_webhooks_as_there_may_be(
    login: Login, subscription: Subscription, settings: Any
) -> None:
    settings.WEBHOOK_MAX_SUBSCRIPTIONS = 1
    form = {"url": "https://hook.example.com/in", "types": "*", "format": "json"}

    page = login(None).post(f"{LIST}add/", form, follow=True).content.decode()

    assert "as many subscriptions as there may be" in page and Subscription.objects.count() == 1


def test_it_is_switched_off_with_a_reason_and_on_again(
    login: Login, subscription: Subscription
) -> None:
    client = login(None, name="root")

    assert "Say why" in press(client, subscription, "switch_off").content.decode()
    press(client, subscription, "switch_off", reason="Maintenance.")
    page = client.get(f"{LIST}{subscription.subscription_id}/change/").content.decode()
    assert "Maintenance." in page and "Switch on" in page and not Subscription.objects.get().active
    press(client, subscription, "switch_on")

    assert Subscription.objects.get().active
    kinds = ["subscription.disabled", "subscription.enabled"]
    said = Event.objects.filter(event_type__in=kinds).order_by("pk")
    assert [(event.event_type, event.publisher, event.door) for event in said] == [
        (kind, "root", "console") for kind in kinds
    ]


@pytest.mark.parametrize("asked", [{"event_id": "the one"}, {"hours": "24"}])
def test_it_is_sent_again(
    asked: dict[str, str],
    login: Login,
    subscription: Subscription,
    monkeypatch: pytest.MonkeyPatch,
    now: datetime,
) -> None:
    if "event_id" in asked:
        asked = {"event_id": Delivery.objects.get().event_id}
    else:
        monkeypatch.setattr("orchestrator_site.core.times.now", lambda: now)

    client = login("Operators")

    press(client, subscription, "resend", **asked)

    page = page_of(client, subscription)
    assert "Webhook to hook.example.com: sends 1 known delivery again." in page
    assert "to be sent again" in page and "The receiver answered 500." not in page
    assert Delivery.objects.values_list("status", "attempts").get() == ("pending", 0)


def test_a_delivery_that_is_sent_again_does_not_say_that_it_was_never_tried(
    login: Login, subscription: Subscription
) -> None:
    client, delivery = login("Operators"), Delivery.objects.get()
    page = f"/admin/events_app/delivery/{delivery.pk}/change/"
    tried = "<dt>Tried</dt><dd>{}</dd>"
    assert tried.format("10 attempts") in client.get(page).content.decode()

    press(client, subscription, "resend", event_id=delivery.event_id)

    again = client.get(page).content.decode()
    assert tried.format("to be sent again") in again and "The receiver answered 500." in again


@pytest.mark.parametrize("asked", [{}, {"event_id": "evt_1", "hours": "24"}, {"hours": "5"}])
def test_sending_again_needs_to_know_what(
    asked: dict[str, str], login: Login, subscription: Subscription
) -> None:
    answer = press(login(None), subscription, "resend", **asked)

    assert answer.status_code == 200 and Delivery.objects.get().status == "dead"


@pytest.mark.parametrize("verb", ["resend", "rotate", "switch_off", "switch_on"])
def test_who_may_not_manage_cannot(verb: str, login: Login, subscription: Subscription) -> None:
    client = login("Approvers")
    answer = press(client, subscription, verb, reason="x", hours="24")

    assert answer.status_code in (302, 403)
    assert client.get(f"{LIST}add/").status_code == 403
    assert "Operators send again" in page_of(client, subscription)
    assert (
        Subscription.objects.get().secret == subscription.secret
        and Subscription.objects.get().active
    )
    assert Delivery.objects.get().status == "dead"


def test_what_is_not_there_is_a_404(login: Login, subscription: Subscription) -> None:
    client = login(None)

    assert client.post(f"{LIST}sub_1/rotate/", SUBMITTED).status_code == 404
    for path in (
        f"{LIST}sub_1/change/",
        "/admin/events_app/delivery/x/change/",
        "/admin/events_app/delivery/9/change/",
    ):
        assert client.get(path).status_code in (302, 404)
