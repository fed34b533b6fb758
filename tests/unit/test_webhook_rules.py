"""What a webhook may reach, when it is tried again, what it says and how it is signed."""

import base64
import ipaddress
import random
from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured
from standardwebhooks import Webhook, WebhookVerificationError

from events_app import errors
from events_app.models import Event
from events_app.webhooks import retry, signing, url_policy
from events_app.webhooks.services import new_secret
from orchestrator_site.config import env

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
WAITS = (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)
EVERYWHERE = url_policy.Reach()
DEVELOPMENT = url_policy.Reach(places=frozenset({("https", 443), ("http", 80)}))
OFFICE = url_policy.Reach(
    networks=(ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("fd00::/8"))
)


def words(text: str) -> list[str]:
    return text.split()


PUBLIC = words("""
1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.1
169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 191.255.255.255 192.0.1.0 192.0.3.0
192.88.98.255 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 203.0.112.255 203.0.114.0
223.255.255.255 2606:4700:4700::1111 2001:200::1 2001:4860:4860::8888 2003::1 2a00::1 3ffe::1
3fff:1000::1 ::ffff:8.8.8.8 ::ffff:1.1.1.1
""")
NOT_PUBLIC = words("""
0.0.0.0 0.255.255.255 10.0.0.0 10.255.255.255 100.64.0.1 100.100.100.200 100.127.255.255
127.0.0.1 127.255.255.255 169.254.0.0 169.254.169.254 169.254.170.2 172.16.0.0 172.31.255.255
192.0.0.0 192.0.0.192 192.0.2.1 192.88.99.1 192.168.0.1 192.168.255.255 198.18.0.1
198.19.255.255 198.51.100.7 203.0.113.9 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 ::
::1 ::127.0.0.1 ::8.8.8.8 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254
::ffff:0:127.0.0.1 64:ff9b::a9fe:a9fe 64:ff9b::808:808 64:ff9b:1::1 100::1 2001::1 2001:2::1
2001:10::1 2001:20::1 2001:db8::1 2002:7f00:1:: 2002:808:808:: 3fff::1 4000::1 5f00::1 fc00::1
fd00:ec2::254 fe80::1 fe80::1%lo febf::1 fec0::1 ff02::1 ff0e::1 2606:4700::1%lo
""")


@pytest.mark.parametrize("text", PUBLIC)
def test_the_public_internet_may_be_reached(text: str) -> None:
    assert url_policy.is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", NOT_PUBLIC)
def test_nothing_else_may(text: str) -> None:
    assert not url_policy.is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://example.com", ("https", "example.com", 443, "/")),
        ("https://EXAMPLE.com:443/a/b?c=d", ("https", "example.com", 443, "/a/b?c=d")),
        ("http://my_receiver:8080/", ("http", "my_receiver", 8080, "/")),
        ("https://8.8.8.8/hook", ("https", "8.8.8.8", 443, "/hook")),
        ("https://[2606:4700::1]:443/", ("https", "2606:4700::1", 443, "/")),
        ("https://xn--bcher-kva.example/", ("https", "xn--bcher-kva.example", 443, "/")),
        ("https://example.com/" + "x" * 2028, ("https", "example.com", 443, "/" + "x" * 2028)),
    ],
)
def test_a_url_leads_somewhere(url: str, target: tuple[str, str, int, str]) -> None:
    assert url_policy.target_of(url) == target


BAD_URLS = [
    "",
    "https://example.com/" + "x" * 2029,
    "https://example.com/\n",
    "https://exam\nple.com/",
    "https://example.com/a b",
    "\thttps://example.com/",
    "https://example.com/\x00",
    "https://user@example.com/",
    "https://user:secret@example.com/",
    "https://example.com@127.0.0.1/",
    "https://example.com/#part",
    "https://example.com\\@127.0.0.1/",
    "https:///hook",
    "https://",
    "//example.com/",
    "example.com",
    "https:example.com",
    "https://bücher.example/",
    "https://１２７.0.0.1/",
    "https://%31%32%37.0.0.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.1/",
    "https://0177.0.0.1/",
    "https://127.1/",
    "https://127.0.0.1./",
    "https://localhost./",
    "https://example..com/",
    "https://-example.com/",
    "https://" + "a" * 64 + ".com/",
    "https://[::1/",
    "https://[example.com]/",
    "https://::1/",
    "https://example.com:0/",
    "https://example.com:65536/",
    "https://example.com:x/",
    "https://example.com:-1/",
    *(
        f"{scheme}://example.com/"
        for scheme in ("ftp", "file", "gopher", "dict", "ldap", "ws", "wss")
    ),
    "javascript:alert(1)",
    "data:text/plain,hello",
]


@pytest.mark.parametrize("url", BAD_URLS)
def test_what_is_no_proper_url_is_refused(url: str) -> None:
    with pytest.raises(errors.BadUrl):
        url_policy.ensure_may_subscribe(url, OFFICE)


@pytest.mark.parametrize("port", [22, 25, 80, 5432, 6379, 8443])
def test_only_the_port_of_https_is_for_everyone(port: int) -> None:
    with pytest.raises(errors.BadUrl):
        url_policy.ensure_may_subscribe(f"https://example.com:{port}/", DEVELOPMENT)


def test_plain_http_is_for_development() -> None:
    assert url_policy.ensure_may_subscribe("http://example.com/", DEVELOPMENT).port == 80
    with pytest.raises(errors.BadUrl):
        url_policy.ensure_may_subscribe("http://example.com/", EVERYWHERE)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "[::1]", "[::ffff:10.0.0.1]", "[fe80::1]"]
)
def test_an_address_that_is_not_public_is_refused_at_once(host: str) -> None:
    with pytest.raises(errors.BadUrl):
        url_policy.ensure_may_subscribe(f"https://{host}/", EVERYWHERE)


@pytest.mark.parametrize(
    "url", ["http://10.1.2.3:8080/", "https://[fd00::1]:9000/", "http://[::ffff:10.1.0.1]/"]
)
def test_a_listed_network_may_be_reached_on_any_port_and_in_the_clear(url: str) -> None:
    url_policy.ensure_may_subscribe(url, OFFICE)


@pytest.mark.parametrize(
    "url", ["http://10.2.0.1/", "https://10.0.255.255/", "http://8.8.8.8/", "https://8.8.8.8:8443/"]
)
def test_a_listed_network_opens_no_other(url: str) -> None:
    with pytest.raises(errors.BadUrl):
        url_policy.ensure_may_subscribe(url, OFFICE)


def test_networks_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETS", "10.0.0.0/8, ::1")
    assert [str(network) for network in env.networks("NETS")] == ["10.0.0.0/8", "::1/128"]

    for wrong in ("10.0.0.0/33", "10.0.0.1/8", "office", "10.0.0.0/8;::1"):
        monkeypatch.setenv("NETS", wrong)
        with pytest.raises(ImproperlyConfigured, match="NETS"):
            env.networks("NETS")


def test_waits_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert env.integers("WAITS", "5,300") == (5, 300)

    for wrong in ("0", "5,x", "-1", "1.5"):
        monkeypatch.setenv("WAITS", wrong)
        with pytest.raises(ImproperlyConfigured, match="WAITS"):
            env.integers("WAITS", "5")


def again(attempts: int, jitter: float = 0, after: timedelta | None = None) -> datetime | None:
    return retry.next_attempt_at(
        attempts=attempts, now=NOW, waits=WAITS, jitter=jitter, retry_after=after
    )


def test_the_waits_grow_and_end() -> None:
    assert [again(number) for number in range(1, 11)] == [
        *(NOW + timedelta(seconds=wait) for wait in WAITS),
        None,
    ]


def test_jitter_is_a_fifth_either_way() -> None:
    assert [again(2, -1), again(2, 1)] == [
        NOW + timedelta(seconds=240),
        NOW + timedelta(seconds=360),
    ]


def test_a_receiver_can_lengthen_the_wait_but_not_shorten_it() -> None:
    assert again(1, after=timedelta(seconds=60)) == NOW + timedelta(seconds=60)
    assert again(2, after=timedelta(seconds=60)) == NOW + timedelta(seconds=300)
    assert again(10, after=timedelta(seconds=60)) is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0),
        ("7", 7),
        (" 120 ", 120),
        ("86399", 86_399),
        ("86401", 86_400),
        ("9" * 500, 86_400),
        ("Sat, 31 Jan 2026 12:00:30 GMT", 30),
        ("Sat, 31 Jan 2026 11:00:00 GMT", 0),
        ("Sat, 31 Jan 2099 12:00:00 GMT", 86_400),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("٣", None),
        ("Sat, 99 Jan 2026 12:00:00 GMT", None),
    ],
)
def test_retry_after_is_read(header: str, seconds: int | None) -> None:
    assert retry.retry_after(header, now=NOW) == (
        None if seconds is None else timedelta(seconds=seconds)
    )


def secret_of(size: int) -> str:
    return "whsec_" + base64.b64encode(bytes([200] * size)).decode()


@pytest.mark.parametrize("text", [secret_of(24), secret_of(64)])
def test_a_secret_of_the_callers_is_taken(text: str) -> None:
    assert signing.checked_secret(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "whsec_",
        secret_of(23),
        secret_of(65),
        secret_of(32).removeprefix("whsec_"),
        "whsec_not base64!",
        "whsec_" + base64.b64encode(b"a password of forty characters, in ASCII").decode(),
        "correct horse battery staple",
    ],
)
def test_a_weak_secret_is_refused(text: str) -> None:
    with pytest.raises(errors.BadSecret):
        signing.checked_secret(text)


def test_a_new_secret_is_one_we_would_take() -> None:
    made = {new_secret() for _ in range(100)}

    assert len(made) == 100
    assert all(signing.checked_secret(secret) == secret for secret in made)


def signed(body: str, *secrets: str) -> dict[str, str]:
    return signing.signed(secrets, message_id="evt_1", at=datetime.now(UTC), body=body)


def test_the_official_library_accepts_what_is_signed_and_nothing_else() -> None:
    chance = random.Random(7)
    for number in range(1000):
        secret, body = new_secret(), f'{{"n": "{number} – é"}}'
        headers = signed(body, secret)
        Webhook(secret).verify(body, headers)
        flipped = bytearray(body.encode())
        flipped[chance.randrange(10)] ^= 1 << chance.randrange(7)
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(bytes(flipped), headers, json_parse=False)
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(body, {**headers, "webhook-id": "evt_2"})


def test_both_secrets_verify_while_one_replaces_the_other() -> None:
    old, new, other = new_secret(), new_secret(), new_secret()

    headers = signed("{}", new, old)

    assert headers["webhook-signature"].count("v1,") == 2
    assert Webhook(old).verify("{}", headers) == Webhook(new).verify("{}", headers) == {}
    with pytest.raises(WebhookVerificationError):
        Webhook(other).verify("{}", headers)


def test_an_event_looks_as_every_reader_sees_it() -> None:
    event = Event(
        event_type="pr.merged", source_agent="dev", payload={"é": 1}, position=7, created_at=NOW
    )

    assert signing.body_of(event).startswith(
        '{"type":"pr.merged","timestamp":"2026-01-31T12:00:00Z","data":{'
    )
