"""Checks every answer of the API, refusals too, against the OpenAPI schema of the service."""

import functools
import json
import re
from typing import Any
from urllib.parse import urlsplit

from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from orchestrator_site.views.docs import openapi_document

PAGES = ("/docs", "/redoc", "/openapi.json", "/admin", "/static")  # not described by the schema
REFUSAL = {"$ref": "urn:api#/components/schemas/Error"}


def check(method: str, path: str, answer: Any) -> None:
    """Raise AssertionError unless the schema describes this answer: its status, its headers, its
    body.

    path: as requested, query string included. answer: Django's response.
    """
    path = urlsplit(path).path
    if path.startswith(PAGES) and answer.status_code < 400:
        return
    said = described(method, path, answer.status_code)
    missing = [
        name
        for name in said["headers"]
        if name not in answer.headers and name != "Idempotent-Replay"
    ]
    assert not missing, f"{method} {path} {answer.status_code}: headers {missing} are missing"
    if method == "HEAD":
        return
    assert answer.headers["Content-Type"] == "application/json", answer.headers["Content-Type"]
    found = said["body"].iter_errors(json.loads(answer.content))
    errors = [f"{'.'.join(map(str, error.path))}: {error.message}" for error in found]
    assert not errors, f"{method} {path} {answer.status_code}: {'; '.join(errors)}"


@functools.cache
def described(method: str, path: str, status: int) -> dict[str, Any]:
    """Return the headers and the validator that belong to an answer.

    Refusals need no operation of their own.
    """
    operation = operation_of("GET" if method == "HEAD" else method, path)
    answers = operation["responses"] if operation else {"default": refusal_outside()}
    assert status >= 400 or str(status) in answers, f"{method} {path}: the schema knows no {status}"
    answer = answers.get(str(status), answers["default"])
    body = answer["content"]["application/json"]["schema"]
    return {"headers": answer["headers"], "body": validator(absolute(body))}


def refusal_outside() -> dict[str, Any]:
    """Return what any refusal looks like, where no operation answers: an unknown path or method."""
    headers: dict[str, Any] = {
        "X-RateLimit-Limit": {},
        "X-RateLimit-Remaining": {},
        "X-RateLimit-Reset": {},
    }
    return {"headers": headers, "content": {"application/json": {"schema": REFUSAL}}}


def operation_of(method: str, path: str) -> dict[str, Any] | None:
    """Return the operation that answers a path; a literal path goes before one with parameters."""
    paths = document()["paths"]
    for template in sorted(paths, key=lambda name: name.count("{")):
        if re.fullmatch(re.sub(r"\{\w+\}", "[A-Za-z0-9_-]{1,64}", template), path):
            return paths[template].get(method.lower())
    return None


@functools.cache
def document() -> dict[str, Any]:
    """Return the schema, closed: an answer may hold nothing that the schema does not name."""
    found: dict[str, Any] = json.loads(openapi_document())
    for name, schema in found["components"]["schemas"].items():
        if (
            name != "Error" and "properties" in schema
        ):  # a refusal also carries facts about the state
            schema.setdefault("additionalProperties", False)
    return found


def absolute(schema: Any) -> Any:
    """Return a schema whose references lead into the document."""
    if isinstance(schema, dict):
        return {
            name: f"urn:api{inner}" if name == "$ref" and inner.startswith("#") else absolute(inner)
            for name, inner in schema.items()
        }
    return [absolute(item) for item in schema] if isinstance(schema, list) else schema


def validator(schema: dict[str, Any]) -> Draft202012Validator:
    """Return a validator that knows the document; formats such as date-time are checked too."""
    registry = Registry().with_resource("urn:api", Resource.from_contents(document(), DRAFT202012))
    return Draft202012Validator(schema, registry=registry, format_checker=FormatChecker())
