"""Tokens: the guide's are read, everything else is refused."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from rest_framework_simplejwt.exceptions import TokenError

from orchestrator_site.auth import tokens
from orchestrator_site.core import times
from orchestrator_site.core.actors import Role

SECRET = "k7Qp2vXz9Lr4Tn8Wb3Ym6Hs1Dc5Fg0Ja"
OLD_SECRET = "z1Xc2Vb3Nm4As5Df6Gh7Jk8Ql9We0Rt-"
NOW = 1_800_000_000
HOUR = 3600


@pytest.fixture(autouse=True)
def secrets(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(times, "clock", times.Clock(elapsed=lambda: 0.0, system=lambda: float(NOW)))
    settings.ORCHESTRATOR_JWT_SECRET = SECRET
    settings.ORCHESTRATOR_JWT_SECRET_PREVIOUS = ""


def claims(**changes: Any) -> dict[str, Any]:
    """Return good claims; a change to None leaves the claim out."""
    made = {"sub": "dev-agent-1", "role": "agent", "exp": NOW + HOUR, "iat": NOW, **changes}
    return {name: value for name, value in made.items() if value is not None}


def signed(
    payload: str, *, header: dict[str, Any] | str | None = None, secret: str = SECRET
) -> str:
    """Return a token over any payload text, which PyJWT would not make."""
    head = (
        header if isinstance(header, str) else json.dumps(header or {"alg": "HS256", "typ": "JWT"})
    )
    text = ".".join(
        base64.urlsafe_b64encode(part.encode()).rstrip(b"=").decode() for part in (head, payload)
    )
    signature = hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def of(**changes: Any) -> str:
    return jwt.encode(claims(**changes), SECRET, algorithm="HS256")


def test_the_guides_token_is_read() -> None:
    now = datetime.fromtimestamp(NOW, UTC)
    payload = {"sub": "dev-agent-1", "role": "agent", "exp": now + timedelta(hours=24), "iat": now}

    found = tokens.read(jwt.encode(payload, SECRET, algorithm="HS256"))

    assert found == tokens.Claims(
        "dev-agent-1", Role.AGENT, int((now + timedelta(hours=24)).timestamp())
    )


def test_what_is_minted_is_read_and_has_only_the_guides_claims() -> None:
    text = tokens.mint(sub="alice", role=Role.ADMIN, now=datetime.fromtimestamp(NOW, UTC))

    assert tokens.read(text).sub == "alice"
    assert set(jwt.decode(text, options={"verify_signature": False})) == {
        "sub",
        "role",
        "exp",
        "iat",
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": NOW + HOUR + 0.5, "iat": NOW - 0.5},
        {"iat": NOW + 20},
        {"iat": NOW + 60},
        {"exp": NOW - 9, "iat": NOW - HOUR},
        {"aud": "another service", "is_superuser": True, "nbf": NOW + HOUR},
        {"exp": NOW + 20 * 365 * 24 * HOUR},
        {"sub": "Ärzte 北京 🙂"},
        {"sub": "x" * 128},
    ],
    ids=str,
)
def test_unusual_but_good_tokens_are_read(changes: dict[str, Any]) -> None:
    assert tokens.read(of(**changes)).role == Role.AGENT


BAD_CLAIMS: list[dict[str, Any]] = [
    {"exp": None},
    {"iat": None},
    {"sub": None},
    {"role": None},
    {"exp": NOW - 10},
    {"exp": 0},
    {"exp": NOW * 1000},
    {"exp": 1e20},
    {"exp": 10**30},
    {"exp": "1795000000"},
    {"exp": True},
    {"exp": [1]},
    {"exp": float("nan")},
    {"exp": float("inf")},
    {"iat": NOW + 61},
    {"iat": NOW * 1000},
    {"iat": "now"},
    {"iat": -1},
    {"sub": ""},
    {"sub": "  "},
    {"sub": " padded"},
    {"sub": 5},
    {"sub": ["a"]},
    {"sub": "a\x00b"},
    {"sub": "a\nb"},
    {"sub": "a\u202eb"},
    {"sub": "x" * 129},
    {"sub": "system"},
    {"sub": "Orchestrator"},
    {"sub": "console"},
    {"role": "superuser"},
    {"role": "ADMIN"},
    {"role": ""},
    {"role": ["admin"]},
    {"role": {"$ne": 1}},
    {"role": 5},
]


@pytest.mark.parametrize("changes", BAD_CLAIMS, ids=lambda changes: str(changes)[:40])
def test_bad_claims_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(TokenError):
        tokens.read(signed(json.dumps(claims(**changes))))


def payload_text() -> str:
    return json.dumps(claims())


BAD_FORMS = {
    "nothing": lambda: "",
    "one part": lambda: "abc",
    "two parts": lambda: "a.b",
    "four parts": lambda: of() + ".x",
    "not ascii": lambda: of() + "é",
    "a lone surrogate": lambda: of() + "\udcff",
    "too long": lambda: of(filler="x" * 9000),
    "signature removed": lambda: of().rpartition(".")[0] + ".",
    "signature of another": lambda: of().rpartition(".")[0] + "." + of(sub="b").rpartition(".")[2],
    "a payload changed": lambda: ".".join(
        [of().split(".")[0], of(role="admin").split(".")[1], of().split(".")[2]],
    ),
    "wrong secret": lambda: signed(payload_text(), secret="x" * 32),
    "well-known secret": lambda: signed(payload_text(), secret="your-secret-key-here-min-32-chars"),
    "empty secret": lambda: signed(payload_text(), secret=""),
    "alg none": lambda: signed(payload_text(), header={"alg": "none", "typ": "JWT"}),
    "alg nOnE": lambda: jwt.encode(claims(), None, algorithm="none").replace("none", "nOnE"),
    "HS512": lambda: jwt.encode(claims(), SECRET * 2, algorithm="HS512"),
    "HS512 in name": lambda: signed(payload_text(), header={"alg": "HS512"}),
    "RS256 in name": lambda: signed(payload_text(), header={"alg": "RS256"}),
    "kid": lambda: signed(payload_text(), header={"alg": "HS256", "kid": "../../dev/null"}),
    "jku": lambda: signed(
        payload_text(), header={"alg": "HS256", "jku": "https://evil.example/keys"}
    ),
    "jwk": lambda: signed(
        payload_text(), header={"alg": "HS256", "jwk": {"kty": "oct", "k": "eA"}}
    ),
    "crit": lambda: signed(payload_text(), header={"alg": "HS256", "crit": ["x"], "x": 1}),
    "typ id_token": lambda: signed(payload_text(), header={"alg": "HS256", "typ": "id_token"}),
    "header no object": lambda: signed(payload_text(), header="[]"),
    "payload a list": lambda: signed("[]"),
    "payload no JSON": lambda: signed("{"),
    "payload no UTF-8": lambda: signed("\x80"),
    "payload too deep": lambda: signed('{"a":' * 2000 + "1" + "}" * 2000),
    "payload with NaN": lambda: signed(payload_text()[:-1] + ', "x": NaN}'),
    "exp 1e400": lambda: signed(payload_text().replace('"exp": ', '"exp": 1e400, "x": ')),
    "sub a lone surrogate": lambda: signed(payload_text().replace("dev-agent-1", "\\ud800")),
    "role twice": lambda: signed(payload_text()[:-1] + ', "role": "admin"}'),
    "integer of 5000 digits": lambda: signed(payload_text()[:-1] + f', "x": {"9" * 5000}}}'),
}


@pytest.mark.parametrize("form", BAD_FORMS)
def test_bad_forms_are_refused(form: str) -> None:
    with pytest.raises(TokenError):
        tokens.read(BAD_FORMS[form]())


def test_during_a_rotation_both_secrets_count(settings: Any) -> None:
    settings.ORCHESTRATOR_JWT_SECRET_PREVIOUS = OLD_SECRET

    assert tokens.read(signed(payload_text(), secret=OLD_SECRET)).sub == "dev-agent-1"
    assert tokens.read(signed(payload_text())).sub == "dev-agent-1"
    with pytest.raises(TokenError):
        tokens.read(signed(payload_text(), secret="another secret"))


def test_after_a_rotation_the_old_secret_counts_no_longer() -> None:
    with pytest.raises(TokenError):
        tokens.read(signed(payload_text(), secret=OLD_SECRET))


def test_a_refusal_never_shows_the_token() -> None:
    text = of(role="superuser")

    with pytest.raises(TokenError) as refusal:
        tokens.read(text)

    assert text not in str(refusal.value) and "superuser" not in str(refusal.value)
