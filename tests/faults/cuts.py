"""A listener whose connection is cut again and again, at any byte, and who comes back with the last
id it read.
"""

import http.client
import json
import random
import re
import threading
from urllib.parse import urlsplit

from tests.faults.service import Caller, Report, Service

FRAME = re.compile(rb"id: (\S+)\nevent: cut\.n\ndata: (\{.*\})\n")
MOST = 6000  # bytes read before a cut


def stream_cuts(service: Service, *, cuts: int, seed: int) -> Report:
    """Publish all the while, cut `cuts` times, and count what the listener missed or heard out of
    order.
    """
    dice = random.Random(seed)
    last = service.caller("listener").get("/events?after=now")["next"]
    stop, said = threading.Event(), [0]
    speaker = threading.Thread(target=speak, args=[service.caller("speaker"), stop, said])
    speaker.start()
    heard: list[int] = []
    for _ in range(cuts):
        last = listen(service, last, heard, most=dice.randrange(1, MOST))
    stop.set()
    speaker.join()
    while len(heard) < said[0]:
        before = len(heard)
        last = listen(service, last, heard, most=10**6, patience=3)
        if len(heard) == before:
            break
    lost, order = len(set(range(said[0])) - set(heard)), heard == sorted(set(heard))
    broken = ([f"{lost} lost"] if lost else []) + ([] if order else ["heard twice or out of order"])
    return Report("cut streams", cuts, seed, broken, {"events": said[0]})


def speak(caller: Caller, stop: threading.Event, said: list[int]) -> None:
    """Publish numbered events until told to stop; count them."""
    while not stop.is_set():
        caller.post(
            "/events/publish",
            {"event_type": "cut.n", "source_agent": "speaker", "payload": {"n": said[0]}},
        )
        said[0] += 1


def listen(
    service: Service, last: str, heard: list[int], *, most: int, patience: float = 20
) -> str:
    """Read up to `most` bytes and leave without a word; return the id of the last whole event.

    patience: seconds without a byte until it leaves, too.
    """
    http_ = http.client.HTTPConnection(urlsplit(service.url).netloc, timeout=patience)
    token = service.caller("listener").http.headers["Authorization"]
    http_.request(
        "GET", "/events/stream?types=cut.*", headers={"Authorization": token, "Last-Event-ID": last}
    )
    answer, read = http_.getresponse(), b""
    try:
        while len(read) < most and (part := answer.read1(most - len(read))):
            read += part
    except TimeoutError:
        pass
    finally:
        http_.sock.close()
    for frame in read.split(b"\n\n")[:-1]:  # the last part is not whole
        if found := FRAME.search(frame + b"\n"):
            last = found[1].decode()
            heard.append(json.loads(found[2])["payload"]["n"])
    return last
