"""Unsafe settings: the service refuses to start, naming the setting and never its value."""

import os
import secrets
import subprocess
import sys
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import Error, Warning
from django.core.exceptions import ImproperlyConfigured

from orchestrator_site.config.checks import (
    check_deployment,
    check_settings,
    refuse_unsafe_start,
    refuse_unsafe_worker,
)

ROOT = Path(__file__).parent.parent.parent
GOOD = {"jwt": "k7Qp2vXz9Lr4Tn8Wb3Ym6Hs1Dc5Fg0Ja", "key": "Zx8Cv5Bn2Mk9Jh4Gf1Ds7Aq3We6Rt0Yu"}


@pytest.fixture
def production(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Settings of a production server that are in order."""
    for name in [name for name in os.environ if name.startswith("ORCHESTRATOR_API_KEY_")]:
        monkeypatch.delenv(name)
    settings.DEVELOPMENT = False
    settings.ORCHESTRATOR_JWT_SECRET = GOOD["jwt"]
    settings.SECRET_KEY = GOOD["key"]
    settings.ALLOWED_HOSTS = ["orchestrator.example.org"]
    settings.ORCHESTRATOR_APPROVAL_MODE = "four-eyes"
    return settings


def found() -> list[str]:
    return [str(fault.msg) for fault in check_settings() if isinstance(fault, Error)]


def test_good_settings_pass(production: Any) -> None:
    assert found() == []
    refuse_unsafe_start()


@pytest.mark.no_cover  # measuring would take long
def test_a_random_secret_always_passes(production: Any) -> None:
    for make in (secrets.token_hex, secrets.token_urlsafe):
        for _ in range(200):
            production.ORCHESTRATOR_JWT_SECRET = make(32)
            assert found() == []


UNSAFE: dict[str, tuple[str, Any, str]] = {
    "no JWT secret": ("ORCHESTRATOR_JWT_SECRET", "", "ORCHESTRATOR_JWT_SECRET"),
    "31 bytes": ("ORCHESTRATOR_JWT_SECRET", GOOD["jwt"][:31], "ORCHESTRATOR_JWT_SECRET"),
    "the guide's placeholder": (
        "ORCHESTRATOR_JWT_SECRET",
        "YOUR_SECRET",
        "ORCHESTRATOR_JWT_SECRET",
    ),
    "a long placeholder": (
        "ORCHESTRATOR_JWT_SECRET",
        "your-secret-key-here-min-32-chars",
        "ORCHESTRATOR_JWT_SECRET",
    ),
    "change me": ("ORCHESTRATOR_JWT_SECRET", "CHANGEME" * 4, "ORCHESTRATOR_JWT_SECRET"),
    "one character": ("ORCHESTRATOR_JWT_SECRET", "x" * 64, "ORCHESTRATOR_JWT_SECRET"),
    "eight letters again and again": (
        "ORCHESTRATOR_JWT_SECRET",
        "abcdefgh" * 5,
        "ORCHESTRATOR_JWT_SECRET",
    ),
    "digits that run on": ("ORCHESTRATOR_JWT_SECRET", "0123456789" * 4, "ORCHESTRATOR_JWT_SECRET"),
    "hex digits that run on": (
        "ORCHESTRATOR_JWT_SECRET",
        "0123456789abcdef" * 2,
        "ORCHESTRATOR_JWT_SECRET",
    ),
    "the alphabet": ("SECRET_KEY", "abcdefghijklmnopqrstuvwxyz0123456789", "DJANGO_SECRET_KEY"),
    "a keyboard": ("SECRET_KEY", "qwertyuiopasdfghjklzxcvbnm123456", "DJANGO_SECRET_KEY"),
    "what it is for": (
        "ORCHESTRATOR_JWT_SECRET",
        "MySuperJwtKeyForProduction2024!!",
        "ORCHESTRATOR_JWT_SECRET",
    ),
    "an old secret too short": (
        "ORCHESTRATOR_JWT_SECRET_PREVIOUS",
        "short",
        "ORCHESTRATOR_JWT_SECRET_PREVIOUS",
    ),
    "no secret key": ("SECRET_KEY", "missing", "DJANGO_SECRET_KEY"),
    "a short secret key": ("SECRET_KEY", "short", "DJANGO_SECRET_KEY"),
    "a made-up secret key": ("SECRET_KEY", "django-insecure-" + GOOD["key"], "DJANGO_SECRET_KEY"),
    "one secret for both": (
        "SECRET_KEY",
        GOOD["jwt"],
        "ORCHESTRATOR_JWT_SECRET and DJANGO_SECRET_KEY",
    ),
    "debug": ("DEBUG", True, "DEBUG"),
    "no hosts": ("ALLOWED_HOSTS", [], "ALLOWED_HOSTS"),
    "every host": ("ALLOWED_HOSTS", ["a.example", "*"], "ALLOWED_HOSTS"),
    "a proxy by name": ("ORCHESTRATOR_TRUSTED_PROXIES", ["proxy"], "ORCHESTRATOR_TRUSTED_PROXIES"),
}


@pytest.mark.parametrize("name", UNSAFE)
def test_unsafe_settings_stop_the_start(production: Any, name: str) -> None:
    setting, value, named = UNSAFE[name]
    setattr(production, setting, value)

    faults = found()

    assert len(faults) == 1 and faults[0].startswith(named)
    assert not isinstance(value, str) or len(value) < 5 or value not in faults[0]
    with pytest.raises(ImproperlyConfigured, match=named.split()[0]):
        refuse_unsafe_start()
    with pytest.raises(SystemExit):
        refuse_unsafe_worker()


@pytest.mark.parametrize(
    ("key", "fault"),
    [
        (GOOD["key"][:31], True),
        (GOOD["key"][:32], False),
        ("a" * 40, True),
        ("your-api-key-here-4f9a1c7e2b8d6053", True),
        ("0123456789abcdef0123456789abcdef", True),
    ],
)
def test_a_weak_key_in_the_environment_stops_the_start(
    production: Any, monkeypatch: pytest.MonkeyPatch, key: str, fault: bool
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_API_KEY_DEV_AGENT", f"{key}:agent")

    assert [fault.split()[0] for fault in found()] == (
        ["ORCHESTRATOR_API_KEY_DEV_AGENT"] if fault else []
    )


def test_a_malformed_key_stops_the_start_in_development_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ORCHESTRATOR_API_KEY_DEV_AGENT", "key-without-role")

    assert len(found()) == 1 and "key-without-role" not in found()[0]


def test_the_guides_approval_mode_is_a_warning_outside_development(production: Any) -> None:
    production.ORCHESTRATOR_APPROVAL_MODE = "guide"

    assert [type(fault) for fault in check_settings()] == [Warning]


WEAK: dict[str, tuple[str, Any]] = {
    "ORCHESTRATOR_ENV": ("DEVELOPMENT", True),
    "ORCHESTRATOR_APPROVAL_MODE": ("ORCHESTRATOR_APPROVAL_MODE", "four-eyes"),
    "ORCHESTRATOR_TRUSTED_PROXIES": ("ORCHESTRATOR_TRUSTED_PROXIES", ["10.0.0.1", "0.0.0.0/0"]),
    "ORCHESTRATOR_WEBHOOK_ALLOW_NETS": ("WEBHOOK_ALLOW_NETS", (ip_network("::/0"),)),
    "ORCHESTRATOR_RATE_LIMIT_SCALE": ("RATE_LIMIT_SCALE", 100_000),
    "ORCHESTRATOR_ALLOW_HTTP": ("INSECURE_HTTP", True),
    "CSRF_TRUSTED_ORIGINS": ("CSRF_TRUSTED_ORIGINS", ["http://orchestrator.example"]),
    "ORCHESTRATOR_JWT_SECRET_PREVIOUS": ("ORCHESTRATOR_JWT_SECRET_PREVIOUS", "x"),
    "DATABASE_URL": ("DATABASE_URL", "postgres://u:p@db.internal/name?sslmode=prefer"),
    "REDIS_URL": ("REDIS_URL", "redis://:p@redis.internal:6379/0"),
}


@pytest.fixture
def deployment(production: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Settings with nothing weak about them."""
    monkeypatch.delenv("HOST", raising=False)
    production.ORCHESTRATOR_APPROVAL_MODE = "strict"
    production.RATE_LIMIT_SCALE = 1
    production.INSECURE_HTTP = False
    return production


def test_a_strict_deployment_has_no_weakness(deployment: Any) -> None:
    deployment.ORCHESTRATOR_TRUSTED_PROXIES = ["127.0.0.1", "10.0.0.0/8"]
    deployment.WEBHOOK_ALLOW_NETS = (ip_network("10.1.0.0/16"),)
    deployment.DATABASE_URL = (
        "postgres://u:p@db.internal/name?connect_timeout=5&sslmode=verify-full"
    )
    deployment.REDIS_URL = "rediss://:p@redis.internal:6379/0"

    assert check_deployment() == []


@pytest.mark.parametrize("variable", WEAK)
def test_the_deploy_check_names_a_weak_setting_in_one_sentence(
    deployment: Any, variable: str
) -> None:
    setting, value = WEAK[variable]
    setattr(deployment, setting, value)

    [found] = check_deployment()

    assert isinstance(found, Warning)
    assert found.msg.startswith(f"{variable} ") and found.msg.endswith(".")


@pytest.mark.parametrize(("host", "weak"), [("0.0.0.0", 1), ("::", 1), ("127.0.0.1", 0), ("", 0)])
def test_the_deploy_check_names_an_open_host(
    deployment: Any, monkeypatch: pytest.MonkeyPatch, host: str, weak: int
) -> None:
    monkeypatch.setenv("HOST", host)

    assert [found.msg.split()[0] for found in check_deployment()] == ["HOST"] * weak


def test_development_runs_with_no_variables_set() -> None:
    assert found() == []


STARTS = {
    "migrate": ["manage.py", "migrate"],
    "runserver": ["manage.py", "runserver", "127.0.0.1:0", "--noreload"],
    "check": ["manage.py", "check"],
    "worker": ["-m", "celery", "-A", "orchestrator_site", "worker", "--pool", "solo"],
    "beat": ["-m", "celery", "-A", "orchestrator_site", "beat"],
    "asgi": ["-c", "import orchestrator_site.asgi"],
    "wsgi": ["-c", "import orchestrator_site.wsgi"],
}


@pytest.mark.parametrize("name", STARTS)
def test_no_door_opens_with_an_unsafe_secret(name: str, tmp_path: Path) -> None:
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in ("PATH", "HOME", "LANG", "VIRTUAL_ENV")
    }
    environment = kept | {
        "ORCHESTRATOR_ENV": "production",
        "DATA_DIR": str(tmp_path),
        "ORCHESTRATOR_JWT_SECRET": "your-secret-key-here-min-32-chars",
        "DJANGO_SECRET_KEY": GOOD["key"],
        "ALLOWED_HOSTS": "orchestrator.example.org",
        "DJANGO_SETTINGS_MODULE": "orchestrator_site.settings",
    }

    done = subprocess.run(
        [sys.executable, *STARTS[name]],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode != 0
    assert "ORCHESTRATOR_JWT_SECRET" in done.stdout + done.stderr
    assert "your-secret-key-here" not in done.stdout + done.stderr
