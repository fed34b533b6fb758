"""What must be right before the service starts. Messages name the setting, never its value."""

import ipaddress
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from celery.signals import beat_init, worker_init
from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured

from orchestrator_site.auth.api_keys import EnvironmentKey, read_keys
from orchestrator_site.core.weak_secrets import is_guessable

LEAST_BYTES = 32
MOST_SCALE = 10  # beyond it the limits are for load tests
LEAST_PREFIX = {4: 8, 6: 16}  # a network with a shorter one is nearly everything
ENCRYPTED = re.compile(r"[?&]sslmode=(require|verify-ca|verify-full)\b")
LOOPBACK = ("127.", "localhost", "[::1]", "::1")


@register(Tags.security)
def check_settings(app_configs: Sequence[AppConfig] | None = None, **_: Any) -> list[CheckMessage]:
    """Return what keeps the service from starting, and what an operator should know."""
    return [*malformed(), *([] if settings.DEVELOPMENT else unsafe())]


def refuse_unsafe_start() -> None:
    """Raise ImproperlyConfigured if the settings are unsafe: where no system checks are run."""
    faults = [fault.msg for fault in check_settings() if isinstance(fault, Error)]
    if faults:
        raise ImproperlyConfigured("The service refuses to start: " + " ".join(faults))


def malformed() -> Iterator[CheckMessage]:
    """Yield what cannot be meant in any environment."""
    for fault in read_keys(os.environ)[1]:
        yield Error(fault, id="orchestrator.E101")
    for text in settings.ORCHESTRATOR_TRUSTED_PROXIES:
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError:
            fault = (
                "ORCHESTRATOR_TRUSTED_PROXIES must list addresses or networks such as 10.0.0.0/8."
            )
            yield Error(fault, id="orchestrator.E102")


def unsafe() -> Iterator[CheckMessage]:
    """Yield what only a development server may do."""
    yield from weak("ORCHESTRATOR_JWT_SECRET", settings.ORCHESTRATOR_JWT_SECRET, number=1)
    yield from weak("DJANGO_SECRET_KEY", settings.SECRET_KEY, number=2)
    if settings.ORCHESTRATOR_JWT_SECRET_PREVIOUS:
        yield from weak(
            "ORCHESTRATOR_JWT_SECRET_PREVIOUS", settings.ORCHESTRATOR_JWT_SECRET_PREVIOUS, number=3
        )
    if settings.ORCHESTRATOR_JWT_SECRET == settings.SECRET_KEY:
        yield Error(
            "ORCHESTRATOR_JWT_SECRET and DJANGO_SECRET_KEY must differ.", id="orchestrator.E004"
        )
    if settings.DEBUG:
        yield Error("DEBUG must be off outside development.", id="orchestrator.E005")
    if not settings.ALLOWED_HOSTS or "*" in settings.ALLOWED_HOSTS:
        yield Error(
            "ALLOWED_HOSTS must name the hosts of the service, not be empty or *.",
            id="orchestrator.E006",
        )
    for key in read_keys(os.environ)[0]:
        if fault := fault_of_key(key):
            yield Error(f"ORCHESTRATOR_API_KEY_{key.name.upper()} {fault}", id="orchestrator.E007")
    if settings.ORCHESTRATOR_APPROVAL_MODE == "guide":
        warning = (
            "ORCHESTRATOR_APPROVAL_MODE is guide: any agent may approve, its own requests too."
        )
        yield Warning(warning, id="orchestrator.W001")


def weak(name: str, secret: str, *, number: int) -> Iterator[CheckMessage]:
    """Yield what is wrong with a secret, at most one thing."""
    fault = ""
    if secret in ("", "missing"):
        fault = f"{name} must be set."
    elif len(secret.encode()) < LEAST_BYTES:
        fault = f"{name} must have at least {LEAST_BYTES} bytes."
    elif is_guessable(secret):
        fault = f"{name} must be random, not a placeholder or a pattern."
    if fault:
        yield Error(fault, id=f"orchestrator.E00{number}")


def fault_of_key(key: EnvironmentKey) -> str:
    """Return what is wrong with a key, or nothing."""
    if key.length < LEAST_BYTES:
        return f"must have at least {LEAST_BYTES} characters."
    return "must be random, not a placeholder or a pattern." if key.guessable else ""


@register(Tags.security, deploy=True)
def check_deployment(
    app_configs: Sequence[AppConfig] | None = None, **_: Any
) -> list[CheckMessage]:
    """Return what is weak and works all the same, for `check --deploy`."""
    return [
        Warning(sentence, id=f"orchestrator.W{number:03}")
        for number, (weak, sentence) in enumerate([*weak_access(), *weak_connections()], start=2)
        if weak
    ]


def weak_access() -> Iterator[tuple[bool, str]]:
    """Yield what lets in, or counts as somebody else, more than it should.

    Of each setting: whether it does, and a sentence that says so.
    """
    yield (
        settings.DEVELOPMENT,
        "ORCHESTRATOR_ENV is development: programs on this machine get tokens without a "
        "credential.",
    )
    yield (
        settings.ORCHESTRATOR_APPROVAL_MODE == "four-eyes",
        "ORCHESTRATOR_APPROVAL_MODE is four-eyes: whoever holds ORCHESTRATOR_JWT_SECRET can sign "
        "two names and approve what it asked for; strict and human hold against that.",
    )
    yield (
        any(map(is_nearly_everything, settings.ORCHESTRATOR_TRUSTED_PROXIES)),
        "ORCHESTRATOR_TRUSTED_PROXIES trusts nearly everybody: callers choose the address that "
        "they are counted by.",
    )
    yield (
        any(map(is_nearly_everything, settings.WEBHOOK_ALLOW_NETS)),
        "ORCHESTRATOR_WEBHOOK_ALLOW_NETS allows nearly everything: webhooks reach this machine and "
        "the services beside it.",
    )
    yield (
        settings.RATE_LIMIT_SCALE > MOST_SCALE,
        f"ORCHESTRATOR_RATE_LIMIT_SCALE is over {MOST_SCALE}: limits are as good as off, that of "
        "wrong passwords too.",
    )


def weak_connections() -> Iterator[tuple[bool, str]]:
    """Yield what travels in the clear, or is accepted for longer or from further than it should."""
    origins = settings.CSRF_TRUSTED_ORIGINS
    host = os.environ.get("HOST", "").strip() or "127.0.0.1"
    yield (
        settings.INSECURE_HTTP,
        "ORCHESTRATOR_ALLOW_HTTP is on: the console's cookies travel over plain HTTP.",
    )
    yield (
        any(not origin.startswith("https://") or "*" in origin for origin in origins),
        "CSRF_TRUSTED_ORIGINS should list exact https:// origins.",
    )
    yield (
        bool(settings.ORCHESTRATOR_JWT_SECRET_PREVIOUS),
        "ORCHESTRATOR_JWT_SECRET_PREVIOUS is still accepted: take it away a day after a rotation.",
    )
    yield (
        not host.startswith(LOOPBACK),
        "HOST is not loopback: plain HTTP is open beside the proxy, unless only the proxy reaches "
        "it.",
    )
    yield (
        is_remote(settings.DATABASE_URL) and not ENCRYPTED.search(settings.DATABASE_URL),
        "DATABASE_URL reaches another machine and does not insist on TLS: add "
        "?sslmode=verify-full.",
    )
    yield (
        is_remote(settings.REDIS_URL) and not settings.REDIS_URL.startswith("rediss:"),
        "REDIS_URL reaches another machine without TLS: use rediss://.",
    )


def is_remote(url: str) -> bool:
    """Return whether a store is on another machine; a socket is on this one."""
    return not (urlsplit(url).hostname or "localhost").startswith((*LOOPBACK, "%2f"))


def is_nearly_everything(network: Any) -> bool:
    """Return whether a network, or the text of one, holds a large part of all addresses."""
    try:
        block = ipaddress.ip_network(str(network), strict=False)
    except ValueError:  # `malformed` says so
        return False
    return block.prefixlen < LEAST_PREFIX[block.version]


@worker_init.connect(weak=False)
@beat_init.connect(weak=False)
def refuse_unsafe_worker(**_: Any) -> None:
    """Stop a Celery process, which runs the checks, goes on, and swallows exceptions here."""
    try:
        refuse_unsafe_start()
    except ImproperlyConfigured as refusal:
        raise SystemExit(str(refusal)) from None
