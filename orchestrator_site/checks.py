"""What must be right before the service starts (D14, D18). Messages name the setting, never its value."""

import ipaddress
import os
from collections.abc import Iterator, Sequence
from typing import Any

from celery.signals import beat_init, worker_init
from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured

from orchestrator_site.api.keys import read_keys

LEAST_BYTES = 32
LEAST_VARIETY = 8  # different characters; 32 random hex digits have about 14
PLACEHOLDERS = ("your-", "your_", "change", "secret", "placeholder", "example", "insecure", "password", "replace")


@register(Tags.security)
def check_settings(app_configs: Sequence[AppConfig] | None = None, **_: Any) -> list[CheckMessage]:
    """Return what keeps the service from starting, and what an operator should know."""
    return [*malformed(), *([] if settings.DEVELOPMENT else unsafe())]


def refuse_unsafe_start() -> None:
    """Raise ImproperlyConfigured if the settings are unsafe: for starts that run no system checks."""
    faults = [fault.msg for fault in check_settings() if isinstance(fault, Error)]
    if faults:
        raise ImproperlyConfigured("The service refuses to start: " + " ".join(faults))


def malformed() -> Iterator[CheckMessage]:
    """Yield what cannot be meant in any environment."""
    faults = read_keys(os.environ)[1]
    yield from (Error(fault, id="orchestrator.E101") for fault in faults)
    for text in settings.ORCHESTRATOR_TRUSTED_PROXIES:
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError:
            fault = "ORCHESTRATOR_TRUSTED_PROXIES must list addresses or networks such as 10.0.0.0/8."
            yield Error(fault, id="orchestrator.E102")


def unsafe() -> Iterator[CheckMessage]:
    """Yield what only a development server may do."""
    yield from weak("ORCHESTRATOR_JWT_SECRET", settings.ORCHESTRATOR_JWT_SECRET, number=1)
    yield from weak("DJANGO_SECRET_KEY", settings.SECRET_KEY, number=2)
    if settings.ORCHESTRATOR_JWT_SECRET_PREVIOUS:
        yield from weak("ORCHESTRATOR_JWT_SECRET_PREVIOUS", settings.ORCHESTRATOR_JWT_SECRET_PREVIOUS, number=3)
    if settings.ORCHESTRATOR_JWT_SECRET == settings.SECRET_KEY:
        yield Error("ORCHESTRATOR_JWT_SECRET and DJANGO_SECRET_KEY must differ.", id="orchestrator.E004")
    if settings.DEBUG:
        yield Error("DEBUG must be off outside development.", id="orchestrator.E005")
    if not settings.ALLOWED_HOSTS or "*" in settings.ALLOWED_HOSTS:
        yield Error("ALLOWED_HOSTS must name the hosts of the service, not be empty or *.", id="orchestrator.E006")
    for key in read_keys(os.environ)[0]:
        if key.length < LEAST_BYTES:
            fault = f"ORCHESTRATOR_API_KEY_{key.name.upper()} must have at least {LEAST_BYTES} characters."
            yield Error(fault, id="orchestrator.E007")
    if settings.ORCHESTRATOR_APPROVAL_MODE == "guide":
        warning = "ORCHESTRATOR_APPROVAL_MODE is guide: any agent may approve, its own requests too."
        yield Warning(warning, id="orchestrator.W001")


def weak(name: str, secret: str, *, number: int) -> Iterator[CheckMessage]:
    """Yield what is wrong with a secret, at most one thing."""
    fault = ""
    if secret in ("", "missing"):
        fault = f"{name} must be set."
    elif len(secret.encode()) < LEAST_BYTES:
        fault = f"{name} must have at least {LEAST_BYTES} bytes."
    elif any(word in secret.lower() for word in PLACEHOLDERS) or len(set(secret)) < LEAST_VARIETY:
        fault = f"{name} must be random, not a placeholder."
    if fault:
        yield Error(fault, id=f"orchestrator.E00{number}")


@worker_init.connect(weak=False)
@beat_init.connect(weak=False)
def refuse_unsafe_worker(**_: Any) -> None:
    """Stop a Celery process: it runs the checks but goes on whatever they say, and swallows exceptions here."""
    try:
        refuse_unsafe_start()
    except ImproperlyConfigured as refusal:
        raise SystemExit(str(refusal)) from None
