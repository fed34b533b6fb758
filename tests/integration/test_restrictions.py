"""Who may restrict which name, whatever the page in front of it looks like."""

from datetime import datetime

import pytest
from django.contrib.auth.models import User

from events_app.models import Event
from orchestrator_site.access import services
from orchestrator_site.access.services import NotYours
from orchestrator_site.core.actors import Actor, Assurance, Door, Role
from orchestrator_site.core.errors import Invalid
from orchestrator_site.models import Principal
from tests.conftest import actor

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator() -> Actor:
    """An operator at the console, who is no administrator."""
    return actor("dana", Role.AGENT, Assurance.HUMAN, Door.CONSOLE)


@pytest.mark.parametrize("spelling", ["dana", "Dana", "\uff24ana"])
def test_nobody_restricts_or_frees_their_own_name(
    operator: Actor, now: datetime, spelling: str
) -> None:
    with pytest.raises(NotYours):
        services.save_principal(Principal(name=spelling, disabled=True), by=operator, now=now)
    with pytest.raises(NotYours):
        services.delete_principal(
            Principal.objects.create(name=spelling, disabled=True), by=operator, now=now
        )


def test_an_administrator_is_restricted_by_administrators_only(
    operator: Actor, now: datetime
) -> None:
    User.objects.create_superuser("Root-2", password=None)
    chief = actor("root-1", Role.ADMIN, Assurance.HUMAN, Door.CONSOLE)

    with pytest.raises(NotYours, match="is an administrator"):
        services.save_principal(Principal(name="root-2", disabled=True), by=operator, now=now)
    services.save_principal(Principal(name="Root-2", disabled=True), by=chief, now=now)

    assert Event.objects.filter(publisher="root-1").count() == 1


def test_a_name_is_restricted_once_and_in_the_spelling_that_is_in_use(
    operator: Actor, now: datetime
) -> None:
    User.objects.create_user("anna")
    services.save_principal(Principal(name="anna", disabled=True), by=operator, now=now)

    with pytest.raises(Invalid, match="already"):
        services.save_principal(Principal(name="anna"), by=operator, now=now)
    with pytest.raises(Invalid, match="too much like anna"):
        services.save_principal(Principal(name="Anna"), by=operator, now=now)
