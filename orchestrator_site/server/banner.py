"""What `manage.py up` says when it is ready."""

import socket
from collections.abc import Iterator

from django.conf import settings

from orchestrator_site.config import env

SECRETS = ("ORCHESTRATOR_JWT_SECRET", "DJANGO_SECRET_KEY")
LOOPBACK = {"127.0.0.1", "::1"}
SEEN_AS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (an address to recognise, not to listen on)


def text(listener: socket.socket, password: str, jobs: list[str]) -> str:
    """Return the banner.

    password: of the login that was just made, or empty. jobs: the parts that run here.
    """
    host, port = listener.getsockname()[:2]
    lines = (
        development(host, url(host, port), password)
        if settings.DEVELOPMENT
        else production(url(host, port), jobs)
    )
    return "\n".join(["", *lines, ""])


def url(host: str, port: int) -> str:
    """Return where a browser on this machine finds the server."""
    name = SEEN_AS.get(host, host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def production(base: str, jobs: list[str]) -> Iterator[str]:
    """Yield the lines for a deployment."""
    yield f"Orchestrator {settings.VERSION} serves {base} from {database()}."
    for part in ("worker", "beat"):
        own = f"a process of its own, `celery -A orchestrator_site {part}`"
        yield f"  {part}: {'in this process' if part in jobs else own}"


def development(host: str, base: str, password: str) -> Iterator[str]:
    """Yield the lines for a development server: where all is, a first call, what is looser here."""
    yield f"Orchestrator {settings.VERSION} is ready. Ctrl-C ends it."
    yield ""
    yield f"  API docs   {base}/docs"
    yield f"  Console    {base}/admin/"
    yield f"  Login      {login(password)}"
    yield f"  Data       {database()}"
    yield ""
    yield "  Get a token:"
    yield f"    curl -X POST {base}/auth/token \\"
    yield '      -H "Content-Type: application/json" \\'
    yield """      -d '{"user_id": "your-user-id", "role": "agent"}'"""
    yield ""
    yield "  This is a development server. Elsewhere this is stricter (see DEPLOYMENT.md):"
    yield "  - Programs on this machine get a token of role agent or user without a credential."
    if settings.ORCHESTRATOR_APPROVAL_MODE == "guide":
        mode = "ORCHESTRATOR_APPROVAL_MODE=guide"
        yield f"  - Any agent may approve, also what it asked for itself ({mode})."
    if made := [name for name in SECRETS if env.is_made_up(name)]:
        yield f"  - Made up, and kept in {settings.DATA_DIR}: {', '.join(made)}."
    yield "  - Requests come over plain HTTP: there is no TLS."
    if host not in LOOPBACK:
        names = ", ".join(settings.ALLOWED_HOSTS)
        yield f"  - Other machines can reach it, by the names in ALLOWED_HOSTS: {names}."


def login(password: str) -> str:
    """Return how to log in. The password is shown at the first start only: it is not kept."""
    if password:
        return f"admin / {password}   (shown this once)"
    if settings.DATABASE_URL:  # there accounts are made by hand
        return "your account (the first one: .venv/bin/python manage.py createsuperuser)"
    return "as before (forgotten? .venv/bin/python manage.py changepassword admin)"


def database() -> str:
    """Return where the data lies, without a password."""
    place = settings.DATABASES["default"]
    if not settings.DATABASE_URL:
        return str(place["NAME"])
    return f"PostgreSQL, database {place['NAME']} on {place['HOST'] or 'a local socket'}"
