"""How a refusal looks: `{"detail": "<one sentence>"}`, and by field where it was the input."""

import logging
from collections.abc import Iterator
from typing import Any

from django.core.exceptions import ObjectDoesNotExist, PermissionDenied
from django.db import InterfaceError, OperationalError
from django.http import Http404
from rest_framework import serializers
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.response import Response

from orchestrator_site.core import errors

CODES: dict[type[errors.DomainError], int] = {
    errors.Invalid: 400,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Gone: 410,
    errors.TooMany: 429,
    errors.DomainError: 409,
}
DATABASE_GONE = (OperationalError, InterfaceError)
RETRY_AFTER = 5  # seconds, when the database is away
UNAVAILABLE = "The service is temporarily unavailable. Try again in a few seconds."

log = logging.getLogger(__name__)


class ErrorSerializer(serializers.Serializer):
    """Every answer that is not a success. A conflict also carries the present state."""

    detail = serializers.CharField(help_text="One readable sentence.")
    errors = serializers.DictField(
        child=serializers.ListField(child=serializers.CharField()),
        required=False,
        help_text="What is wrong with each field, where the input was at fault; inner fields are "
        "joined by dots.",
    )


def handle(error: Exception, context: dict[str, Any]) -> Response | None:
    """Return the answer to a refusal, or None for a fault, which Django logs: a 500."""
    if isinstance(error, errors.DomainError):
        return domain_answer(error)
    if isinstance(error, DATABASE_GONE):
        headers = {"Retry-After": str(RETRY_AFTER)}
        return logged(Response({"detail": note_outage(error)}, 503, headers=headers))
    if isinstance(error, Http404 | ObjectDoesNotExist):
        return Response({"detail": "Not found."}, 404)
    if isinstance(error, PermissionDenied):
        return Response({"detail": "You may not do this."}, 403)
    if isinstance(error, ValidationError):
        return Response(validation_answer(error), 400)
    if isinstance(error, APIException):
        _, text = next(flattened(error.detail), ("", "The request cannot be carried out."))
        return Response({"detail": text}, error.status_code, headers=headers_of(error))
    return None


def domain_answer(error: errors.DomainError) -> Response:
    """Return what the domain said, and the state it told of."""
    code = next(code for kind, code in CODES.items() if isinstance(error, kind))
    answer: dict[str, Any] = {"detail": str(error)}
    if isinstance(error, errors.Invalid) and error.field:
        answer["errors"] = {error.field: [str(error)]}
    answer |= {name: value for name, value in error.state.items() if name != "detail"}
    return Response(answer, code, headers=headers_of(error))


def validation_answer(error: ValidationError) -> dict[str, Any]:
    """Return the first thing that is wrong as a sentence, and all of them by field."""
    errors: dict[str, list[str]] = {}
    for field, text in flattened(error.detail):
        errors.setdefault(field or "non_field_errors", []).append(text)
    field, texts = next(iter(errors.items()), ("non_field_errors", ["The request is not valid."]))
    return {
        "detail": texts[0] if field == "non_field_errors" else f"{field}: {texts[0]}",
        "errors": errors,
    }


def flattened(detail: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield (field, sentence) of nested errors; names and places in lists are joined by dots."""
    if isinstance(detail, dict):
        for name, inner in detail.items():
            below = path if name == "non_field_errors" else f"{path}.{name}".lstrip(".")
            yield from flattened(inner, below)
    elif isinstance(detail, list):
        for place, inner in enumerate(detail):
            below = f"{path}.{place}".lstrip(".") if isinstance(inner, dict | list) else path
            yield from flattened(inner, below)
    else:
        yield path, str(detail)


def headers_of(error: APIException | errors.DomainError) -> dict[str, str]:
    """Return the challenge of a 401 and the seconds of a 429 or 503."""
    wait, challenge = getattr(error, "wait", None), getattr(error, "auth_header", None)
    headers = {"Retry-After": str(int(wait))} if wait else {}
    return headers | ({"WWW-Authenticate": challenge} if challenge else {})


def note_outage(error: Exception) -> str:
    """Log that the database is away, in one line, and return the sentence for the caller."""
    reason = str(error).partition("\n")[0]
    log.error("The database is unavailable: %s: %s", type(error).__name__, reason)
    return UNAVAILABLE


def logged(response: Any) -> Any:
    """Return the answer, marked so that Django does not log it a second time."""
    response._has_been_logged = True
    return response
