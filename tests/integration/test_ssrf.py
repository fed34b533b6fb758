"""No webhook can be turned against the network it is sent from (reliability E7, class W).

Real listeners on loopback count connections, and an audit hook sees every socket that this process
tries to connect.
"""

import contextlib
import ipaddress
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from events_app.webhooks import http_client
from events_app.webhooks.url_policy import Reach
from tests.support.receivers import Receiver

tried: list[Any] = []
watching = False


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    if watching and event == "socket.connect":
        tried.append(arguments[1])


sys.addaudithook(watch)  # cannot be taken off again, only told to look away


@pytest.fixture
def connections() -> Iterator[list[Any]]:
    """The addresses this process tries to connect to while the test runs."""
    global watching
    tried.clear()
    watching = True
    yield tried
    watching = False


@pytest.fixture(scope="module")
def listeners() -> Iterator[list[Receiver]]:
    """Listeners on one port of every loopback address there is."""
    with Receiver(host="127.0.0.1") as four:
        found = [four]
        if socket.has_ipv6:
            with contextlib.suppress(OSError):
                found.append(Receiver(host="::1", port=four.port).__enter__())
        yield found
        for six in found[1:]:
            six.__exit__()


def open_to(port: int, *networks: str) -> Reach:
    """Return a reach in which only the address can be what is wrong."""
    places = frozenset({("http", port), ("https", port)})
    return Reach(tuple(map(ipaddress.ip_network, networks)), places)


def post(url: str, reach: Reach, seconds: float = 5) -> http_client.Answer:
    return http_client.post(
        url, body=b"{}", headers={"webhook-id": "evt_1"}, reach=reach, seconds=seconds
    )


def words(text: str) -> list[str]:
    return text.split()


ADDRESSES = words("""
127.0.0.1 127.0.0.2 127.1.2.3 127.255.255.254 0.0.0.0 0.0.0.1 10.0.0.1 10.255.255.254 100.64.0.1
100.100.100.200 100.127.255.254 169.254.0.1 169.254.169.254 169.254.170.2 172.16.0.1 172.17.0.1
172.31.255.254 192.0.0.1 192.0.0.170 192.0.0.192 192.0.2.1 192.88.99.1 192.168.0.1 192.168.1.1
192.168.255.254 198.18.0.1 198.19.255.254 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.250
240.0.0.1 255.255.255.255 :: ::1 ::2 ::127.0.0.1 ::7f00:1 ::169.254.169.254 ::ffff:127.0.0.1
::ffff:7f00:1 ::ffff:0.0.0.0 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:192.168.0.1
::ffff:0:127.0.0.1 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b::10.0.0.1 64:ff9b:1::7f00:1 100::1
2001::1 2001:0:7f00:1:: 2001:2::1 2001:10::1 2001:20::1 2001:db8::1 2002:7f00:1::
2002:a9fe:a9fe:: 2002:a00:1:: 3fff::1 5f00::1 fc00::1 fd00::1 fd00:ec2::254 fe80::1
fe80::a9fe:a9fe fec0::1 ff02::1 ff05::2
""")
SPELLINGS = words("""
127.1 127.0.1 2130706433 017700000001 0177.0.0.1 0x7f.0.0.1 0x7f000001 0x7f.1 127.0.0.1.
127.0.0.01 0 0x0 00.0.0.0 ① １２７.0.0.1 127。0。0。1 %31%32%37.0.0.1 user@127.0.0.1
example.com@127.0.0.1 127.0.0.1%00.example.com [::1%lo] [::ffff:127.0.0.1%25lo]
[0:0:0:0:0:0:0:1] [::00:1] localhost localhost. LOCALHOST ip6-localhost
""")
ANSWERS = {
    "loopback": ["127.0.0.1"],
    "loopback, version 6": ["::1"],
    "metadata": ["169.254.169.254"],
    "private": ["10.0.0.1", "192.168.0.1"],
    "shared space": ["100.100.100.200"],
    "mapped": ["::ffff:127.0.0.1"],
    "NAT64": ["64:ff9b::7f00:1"],
    "6to4": ["2002:7f00:1::"],
    "with a zone": ["fe80::1%lo"],
    "public first": ["8.8.8.8", "127.0.0.1"],
    "public last": ["127.0.0.1", "8.8.8.8"],
    "public between": ["8.8.8.8", "::1", "2606:4700::1"],
    "many public before it": [*(f"8.8.8.{number}" for number in range(20)), "127.0.0.1"],
    "nothing": [],
}


def host_of(address: str) -> str:
    return f"[{address}]" if ":" in address and not address.startswith("[") else address


def test_there_are_enough_of_them() -> None:
    assert len(ADDRESSES) + len(SPELLINGS) + len(ANSWERS) >= 88


@pytest.mark.parametrize("address", ADDRESSES)
def test_no_address_that_is_not_public_is_reached(
    address: str, listeners: list[Receiver], connections: list[Any]
) -> None:
    port = listeners[0].port
    with pytest.raises(http_client.Failed, match="not a public address"):
        post(f"http://{host_of(address)}:{port}/", open_to(port))

    assert connections == []
    assert [listener.connections for listener in listeners] == [0] * len(listeners)


@pytest.mark.parametrize("host", SPELLINGS)
def test_no_spelling_of_an_address_helps(
    host: str, listeners: list[Receiver], connections: list[Any]
) -> None:
    port = listeners[0].port
    with pytest.raises(http_client.Failed):
        post(f"http://{host}:{port}/", open_to(port))

    assert [
        address for address in connections if address[1] == port
    ] == []  # a resolver may be asked
    assert [listener.connections for listener in listeners] == [0] * len(listeners)


def resolve_to(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Have the resolver give one list after the other, the last for ever; return names asked."""
    asked: list[str] = []

    def getaddrinfo(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        found = answers[min(len(asked), len(answers) - 1)]
        asked.append(host)
        family = {True: socket.AF_INET6, False: socket.AF_INET}
        return [(family[":" in text], socket.SOCK_STREAM, 6, "", (text, port)) for text in found]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


@pytest.mark.parametrize("found", ANSWERS.values(), ids=ANSWERS)
def test_no_name_leads_there(
    found: list[str],
    listeners: list[Receiver],
    connections: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port = listeners[0].port
    resolve_to(monkeypatch, found)

    with pytest.raises(http_client.Failed, match=r"not a public address|has no address"):
        post(f"http://hook.example.com:{port}/", open_to(port))

    assert connections == []
    assert [listener.connections for listener in listeners] == [0] * len(listeners)


def test_a_name_that_changes_its_mind_gains_nothing(
    monkeypatch: pytest.MonkeyPatch, connections: list[Any]
) -> None:
    with Receiver(host="127.0.0.2") as good, Receiver(host="127.0.0.1", port=good.port) as bad:
        asked = resolve_to(monkeypatch, ["127.0.0.2"], ["127.0.0.1"])

        answer = post(f"http://hook.example.com:{good.port}/", open_to(good.port, "127.0.0.2/32"))

        assert answer.status == 200
        assert asked == ["hook.example.com"]
        assert (good.connections, bad.connections) == (1, 0)
        assert connections == [("127.0.0.2", good.port)]


def test_it_is_judged_anew_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with Receiver(host="127.0.0.2") as good, Receiver(host="127.0.0.1", port=good.port) as bad:
        resolve_to(monkeypatch, ["127.0.0.2"], ["127.0.0.1"])
        reach, url = open_to(good.port, "127.0.0.2/32"), f"http://hook.example.com:{good.port}/"

        assert post(url, reach).status == 200
        with pytest.raises(http_client.Failed, match="not a public address"):
            post(url, reach)

        assert (good.connections, bad.connections) == (1, 0)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(status: int, connections: list[Any]) -> None:
    with Receiver(host="127.0.0.2") as good:
        good.behave = lambda request: "redirect" if status == 307 else str(status)

        answer = post(good.url, open_to(good.port, "127.0.0.2/32"))

        assert (answer.status, good.connections, len(connections)) == (status, 1, 1)


def test_no_proxy_of_the_environment_is_used(
    monkeypatch: pytest.MonkeyPatch, connections: list[Any]
) -> None:
    with Receiver(host="127.0.0.2") as good, Receiver() as proxy:
        for name in (
            "http_proxy",
            "HTTP_PROXY",
            "https_proxy",
            "HTTPS_PROXY",
            "all_proxy",
            "ALL_PROXY",
        ):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")

        assert post(good.url, open_to(good.port, "127.0.0.2/32")).status == 200
        assert proxy.connections == 0


def test_a_lookup_that_fails_reaches_nothing(
    monkeypatch: pytest.MonkeyPatch, connections: list[Any]
) -> None:
    def getaddrinfo(*_: Any, **__: Any) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    with pytest.raises(http_client.Failed, match="cannot be looked up"):
        post("http://hook.example.com/", open_to(80))
    assert connections == []


def test_a_lookup_that_hangs_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with Receiver() as slow:
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: slow.released.wait(30))
        began = time.monotonic()

        with pytest.raises(http_client.Failed, match="No answer within"):
            post("http://hook.example.com/", open_to(80), seconds=0.2)
        assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("hang", "No answer within"),
        ("drip", "No answer within"),
        ("reset", "ConnectionResetError|RemoteDisconnected"),
        ("half", "ConnectionResetError|RemoteDisconnected|IncompleteRead"),
        ("garbage", "BadStatusLine"),
        ("flood", "longer than|LineTooLong|100 headers"),
    ],
)
def test_a_receiver_that_misbehaves_costs_little(how: str, why: str) -> None:
    with Receiver() as receiver:
        receiver.behave = lambda request: how
        began = time.monotonic()

        with pytest.raises(http_client.Failed, match=why) as failure:
            post(receiver.url, open_to(receiver.port, "127.0.0.1"), seconds=0.5)

        assert time.monotonic() - began < 10
        assert str(failure.value).isprintable() and len(str(failure.value)) <= 500


def test_a_long_answer_is_not_read_to_its_end() -> None:
    with Receiver() as receiver:
        receiver.behave = lambda request: "long"

        answer = post(receiver.url, open_to(receiver.port, "127.0.0.1"))

        assert (answer.status, len(answer.body)) == (200, http_client.SNIPPET)


def test_a_port_nobody_listens_on_fails_at_once() -> None:
    with Receiver() as receiver:
        receiver.refuse()
        with pytest.raises(http_client.Failed, match="ConnectionRefusedError"):
            post(receiver.url, open_to(receiver.port, "127.0.0.1"))
        receiver.listen()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for hook.example.com, signed by itself, and its key in one file."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl here to make a certificate with")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    command += " -subj /CN=hook.example.com"
    command += f" -addext subjectAltName=DNS:hook.example.com -keyout {path} -out {path}.crt"
    subprocess.run(["openssl", *command.split()], check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


@pytest.mark.parametrize(
    ("host", "trusted", "good"),
    [
        ("hook.example.com", True, True),
        ("other.example.com", True, False),
        ("hook.example.com", False, False),
    ],
    ids=["good", "of another name", "of nobody we know"],
)
def test_a_certificate_must_be_good_for_the_name(
    host: str, trusted: bool, good: bool, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate) if trusted else "/nonexistent")
    resolve_to(monkeypatch, ["127.0.0.1"])
    with Receiver(tls=context) as receiver:
        url, reach = f"https://{host}:{receiver.port}/hook", open_to(receiver.port, "127.0.0.1")
        if good:
            assert post(url, reach).status == 200
            assert receiver.requests[0].headers["host"] == f"{host}:{receiver.port}"
        else:
            with pytest.raises(http_client.Failed, match="CERTIFICATE_VERIFY_FAILED"):
                post(url, reach)
            assert receiver.requests == []
