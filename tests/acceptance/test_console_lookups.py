"""What an address may ask of the console's lists: the declared filters and the search, nothing
else.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from events_app.webhooks import services as webhooks
from orchestrator_site.access import services
from orchestrator_site.console.base import ConsoleAdmin
from orchestrator_site.core.actors import Actor, Role
from tasks_app.models import Task
from tests.support import console

Login = Callable[..., Client]
login = console.login
ADMINS = dict(sorted((model._meta.label, site) for model, site in admin.site._registry.items()))
PATTERN = "(a+)+$"
REFUSED = (
    "secret__regex",
    "secret__startswith",
    "previous_secret__iregex",
    "secret_hash__gt",
    "password__regex",
    "user__password__startswith",
    "subscription__secret__regex",
    "agent__name__regex",
    "created_at__regex",
    "source__regex",
    "snapshot__payload__contains",
    "payload__deep__icontains",
    "pk__in",
    "id",
    "nonsense",
)
IGNORED = (
    "o=secret",
    "o=-99.9",
    "o=" + "9" * 5000,
    "p=x",
    "p=99999999999999999999",
    "all=",
    "e=1",
    "_popup=1",
)


@pytest.fixture
def rows(make_task: Callable[..., Task], admin: Actor, now: datetime) -> None:
    """A row of most kinds."""
    make_task(priority="P0")
    webhooks.subscribe(url="https://hook.example.com/in", types=["*"], by=admin, now=now)
    services.create_api_key(name="dev-agent-7", role=Role.AGENT, by=admin, now=now)


def list_of(label: str) -> str:
    return reverse(f"admin:{label.lower().replace('.', '_')}_changelist")


@pytest.fixture
def visitors(login: Login) -> list[Client]:
    """A viewer and a superuser."""
    return [login("Viewers", name="vera"), login(None, name="root")]


def test_every_admin_has_the_same_base() -> None:
    assert not [label for label, one in ADMINS.items() if not isinstance(one, ConsoleAdmin)]


@pytest.mark.parametrize("label", ADMINS)
def test_a_list_refuses_lookups_that_are_no_filters_of_it(
    label: str, visitors: list[Client], rows: None
) -> None:
    for client in visitors:
        allowed = client.get(list_of(label)).status_code
        assert allowed in (200, 403)
        for lookup in (*REFUSED, *(f"{field.name}__regex" for field in ADMINS[label].opts.fields)):
            with CaptureQueriesContext(connection) as sent:
                answer = client.get(list_of(label), {lookup: PATTERN})
            assert answer.status_code == (400 if allowed == 200 else 403), lookup
            assert PATTERN not in str(sent.captured_queries), lookup
            if allowed == 200:
                assert "a filter it does not have" in answer.content.decode()


@pytest.mark.parametrize("label", ADMINS)
def test_a_list_bears_any_order_and_page(label: str, login: Login, rows: None) -> None:
    client = login(None)

    for query in IGNORED:
        assert client.get(f"{list_of(label)}?{query}").status_code in (200, 302), query
    assert client.get(list_of(label), {"_to_field": "secret"}).status_code == 400


@pytest.mark.parametrize("label", ADMINS)
def test_a_filter_takes_any_value(label: str, login: Login, rows: None) -> None:
    client = login(None)
    filters: Any = ADMINS[label].list_filter

    for name in (*(one.parameter_name for one in filters), "q"):
        for value in ("\x00", "%'", "x" * 5000, "9" * 30):
            assert client.get(list_of(label), {name: value}).status_code in (200, 400), (
                name,
                value,
            )


@pytest.mark.parametrize("label", ADMINS)
def test_an_address_fills_in_no_form(label: str, login: Login) -> None:
    fields = [field.name for field in ADMINS[label].opts.get_fields() if not field.auto_created]
    query = dict.fromkeys(fields, "planted")

    answer = login(None).get(reverse(f"admin:{label.lower().replace('.', '_')}_add"), query)

    assert answer.status_code in (200, 403)
    assert "planted" not in answer.content.decode().partition("<form")[2]


def test_no_field_is_looked_up_by_completion(visitors: list[Client], rows: None) -> None:
    query = {
        "app_label": "events_app",
        "model_name": "delivery",
        "field_name": "subscription",
        "term": PATTERN,
    }

    for client in visitors:
        assert client.get("/admin/autocomplete/", query).status_code == 404


@pytest.mark.django_db
@pytest.mark.parametrize("name", ADMINS)
def test_the_title_of_a_list_is_what_it_lists(login: Login, name: str) -> None:
    address = reverse(f"admin:{name.replace('.', '_').lower()}_changelist")

    page = login(None).get(address, follow=True)

    title = page.content.decode().partition("<title>")[2].partition("</title>")[0]
    assert page.status_code == 200
    assert "Select " not in title, title
