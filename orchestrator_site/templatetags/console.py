"""Console text in templates."""

from datetime import datetime
from typing import Any

from django import template
from django.utils.safestring import SafeString

from orchestrator_site.console import text
from orchestrator_site.core import times

register = template.Library()
register.filter("visible", text.visible)
register.filter("json_html", text.json_html)
register.filter("unseen_in", text.unseen_in)
register.filter("summary", text.summary)
register.filter("said", text.said)
register.filter("credential", text.credential)
register.simple_tag(text.chip, name="chip")
register.simple_tag(text.person, name="person")


@register.filter
def ago(moment: datetime | None) -> SafeString:
    """Return how long ago a moment was."""
    return text.when(moment, times.now())


@register.filter
def deadline(moment: datetime | None) -> SafeString:
    """Return how long is left until a moment."""
    return text.deadline(moment, times.now())


@register.filter
def span(seconds: float | None) -> str:
    """Return a duration, or a dash."""
    return "–" if seconds is None else text.span(seconds)


@register.filter
def reason_in(payload: dict[str, Any]) -> str:
    """Return why something happened, if an event says so."""
    return str(payload.get("reason") or payload.get("error") or "")
