"""What endpoints have in common, for the OpenAPI schema: refusals, credentials, headers, names."""

import re
from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse

from orchestrator_site.api.exceptions import ErrorSerializer
from orchestrator_site.auth.authentication import CHALLENGE
from orchestrator_site.core.actors import Role

RATE_HEADERS = {
    "X-RateLimit-Limit": "Requests allowed in a window of one minute.",
    "X-RateLimit-Remaining": "Requests left in this window.",
    "X-RateLimit-Reset": "Unix time at which the next window begins.",
}
REFUSALS = {
    "400": "The request is not valid.",
    "401": "No credential, or one that is not good.",
    "403": "The caller may not do this.",
    "404": "There is no such thing.",
    "409": "The present state forbids it; the answer carries that state.",
    "422": "The Idempotency-Key was used for another request.",
    "429": "Rate limit exceeded; Retry-After says for how many seconds.",
    "503": "The service is temporarily unavailable; Retry-After says for how many seconds.",
    "default": "Any other refusal or fault.",
}
TEXT, NUMBER = {"type": "string"}, {"type": "integer"}
KEY_HELP = (
    "1 to 255 printable ASCII characters, no comma: a request sent again with its key gets the "
    "first answer."
)


class CredentialScheme(OpenApiAuthenticationExtension):
    """The two ways to say who calls."""

    target_class = "orchestrator_site.auth.authentication.CredentialAuthentication"
    match_subclasses = True
    name = ["bearer", "apiKey"]

    def get_security_definition(self, auto_schema: AutoSchema) -> list[dict[str, Any]]:
        return [
            {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            {"type": "apiKey", "in": "header", "name": "X-API-Key"},
        ]

    def get_security_requirement(self, auto_schema: AutoSchema) -> list[dict[str, list[str]]]:
        return [{name: []} for name in self.name]


class ApiSchema(AutoSchema):
    """Adds to each operation what the viewset base settles for all of them."""

    @property
    def action(self) -> str:
        return getattr(self.view, "action", "") or ""

    @property
    def optional(self) -> bool:
        """Return whether the action can do without a credential."""
        return getattr(self.view, "roles", {}).get(self.action, Role.ADMIN) is None

    @property
    def public(self) -> bool:
        """Return whether the action takes no notice of credentials."""
        return self.optional and not getattr(self.view, "refuses_bad_credentials", False)

    @property
    def once(self) -> bool:
        """Return whether the action takes an Idempotency-Key."""
        return self.method == "POST" and self.action in getattr(self.view, "once_actions", ())

    def map_parsers(self) -> list[Any]:
        """Return what bodies may be: the empty form is taken, not offered."""
        return [kind for kind in super().map_parsers() if kind != "multipart/form-data"]

    def get_tags(self) -> list[str]:
        app = type(self.view).__module__.partition(".")[0]
        return ["Service" if app == "orchestrator_site" else app.removesuffix("_app").capitalize()]

    def get_summary(self) -> str:
        return self.get_description().partition("\n")[0].removesuffix(".")

    def get_operation_id(self) -> str:
        name = type(self.view).__name__.removesuffix("ViewSet")
        noun = getattr(self.view, "noun", "") or re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
        return f"{noun}_{self.action}"

    def get_auth(self) -> list[dict[str, Any]]:
        """Return the credentials, none for a public action."""
        return [] if self.public else super().get_auth() + ([{}] if self.optional else [])

    def get_override_parameters(self) -> list[Any]:
        if not self.once:
            return []
        return [
            OpenApiParameter("Idempotency-Key", str, OpenApiParameter.HEADER, description=KEY_HELP)
        ]

    def get_examples(self) -> list[OpenApiExample]:
        example = getattr(self.view, "examples", {}).get(self.action)
        return [OpenApiExample("Example", value=example, request_only=True)] if example else []

    def refusals(self) -> list[str]:
        """Return the codes this operation may refuse with."""
        codes = ["400", "429", "503", "default"]
        codes += [] if self.public else ["401", "403"]
        codes += ["404"] if "{" in self.path else []
        codes += ["409"] if self.method != "GET" and not self.public else []
        return sorted(codes + (["422"] if self.once else []))

    def _is_list_view(self, serializer: Any = None) -> bool:
        """Return False: a list comes in an envelope, which names its items itself."""
        return False

    def _is_create_operation(self) -> bool:
        """Return False: success is 200, creation too."""
        return False

    def _get_response_bodies(self, direction: Any = "response") -> dict[str, Any]:
        """Return the action's own answers and the shared refusals, with the headers of all."""
        bodies = super()._get_response_bodies(direction)
        for code in self.refusals():
            shared = OpenApiResponse(ErrorSerializer, REFUSALS[code])
            bodies.setdefault(code, self._get_response_for_code(shared, code, direction=direction))
        for code, body in bodies.items():
            body["description"] = body.get("description") or "Done."
            body.setdefault("headers", {}).update(headers_of(code, once=self.once))
        return bodies


def headers_of(code: str, *, once: bool) -> dict[str, Any]:
    """Return the headers of an answer with this code."""
    headers = {name: {"schema": NUMBER, "description": text} for name, text in RATE_HEADERS.items()}
    if code in ("429", "503"):
        headers["Retry-After"] = {"schema": NUMBER, "description": "Seconds to wait."}
    if code == "401":
        headers["WWW-Authenticate"] = {"schema": TEXT, "description": f"Such as `{CHALLENGE}`."}
    if code == "200" and once:
        sentence = "`true` when this is an earlier answer again."
        headers["Idempotent-Replay"] = {"schema": TEXT, "description": sentence}
    return headers
