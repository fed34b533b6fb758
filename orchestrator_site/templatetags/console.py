"""Console text in templates."""

from datetime import datetime
from typing import Any

from django import template
from django.utils.safestring import SafeString

from orchestrator_site.console import rendering
from orchestrator_site.console.rows import rows
from orchestrator_site.core import times

register = template.Library()
register.inclusion_tag("admin/console/rows.html")(rows)
for name in ("visible", "json_html", "unseen_in", "summary", "quoted", "credential"):
    register.filter(name, getattr(rendering, name))
for tag in (rendering.chip, rendering.dialog_button, rendering.person):
    register.simple_tag(tag)


@register.filter
def ago(moment: datetime | None) -> SafeString:
    """Return how long ago a moment was."""
    return rendering.when(moment, times.now())


@register.filter
def deadline(moment: datetime | None) -> SafeString:
    """Return how long is left until a moment."""
    return rendering.deadline(moment, times.now())


@register.filter
def span(seconds: float | None) -> str:
    """Return a duration, or a dash."""
    return "–" if seconds is None else rendering.span(seconds)


@register.filter
def reason_in(payload: dict[str, Any]) -> str:
    """Return why something happened, if an event says so."""
    return str(payload.get("reason") or payload.get("error") or "")
