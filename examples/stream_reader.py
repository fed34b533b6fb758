"""A reader of events, none missed: TOKEN=… PLACE=place.txt python3 stream_reader.py."""

import json
import os
import time
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

BASE = os.environ.get("BASE", "http://127.0.0.1:8000")
HEADERS = {"Authorization": f"Bearer {os.environ['TOKEN']}"}
PLACE = Path(os.environ["PLACE"])  # where the cursor of the last event is kept


def handle(event: dict) -> None:
    """Do something about an event. If we die before its place is kept, it comes once more."""
    print(event["event_type"], event["event_id"], flush=True)


def stream(after: str) -> Iterator[dict]:
    """Yield the events after a cursor as they happen, until the stream ends."""
    url = f"{BASE}/events/stream?types=pr.*,deployment.*&after={after}"
    with urlopen(Request(url, headers=HEADERS), timeout=60) as lines:
        yield from (json.loads(line[5:]) for line in lines if line.startswith(b"data:"))


while True:
    try:
        for event in stream(PLACE.read_text() if PLACE.exists() else "beginning"):
            if "cursor" in event:
                handle(event)
                PLACE.write_text(event["cursor"])
            elif event["code"] != 503:  # 401, 410: asking again would not help
                raise SystemExit(event["detail"])
    except (URLError, ConnectionError, TimeoutError, HTTPException) as problem:
        if getattr(problem, "code", 503) < 429:
            raise
        time.sleep(1)
