"""A receiver of webhooks: SECRET=whsec_… PORT=8080 python3 webhook_receiver.py."""

import base64
import hmac
import json
import os
import time
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer

KEY = base64.b64decode(os.environ["SECRET"].removeprefix("whsec_"))
SEEN: set[str] = set()  # keep it in your database, in the transaction of what you do


def handle(event: dict) -> None:
    """Do something about an event; after an exception it is sent again later."""
    print(event["event_type"], event["event_id"], flush=True)


def is_genuine(headers: Message, body: bytes) -> bool:
    """Return whether the server signed this, within the last five minutes."""
    sent_at, signatures = headers["webhook-timestamp"], headers["webhook-signature"].split()
    signed = f"{headers['webhook-id']}.{sent_at}.".encode() + body
    ours = "v1," + base64.b64encode(hmac.digest(KEY, signed, "sha256")).decode()
    fresh = abs(time.time() - int(sent_at)) < 300
    return fresh and any(hmac.compare_digest(ours, signature) for signature in signatures)


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        genuine = is_genuine(self.headers, body)
        if genuine and self.headers["webhook-id"] not in SEEN:
            handle(json.loads(body)["data"])
            SEEN.add(self.headers["webhook-id"])
        self.send_response(204 if genuine else 401)
        self.end_headers()


HTTPServer(("", int(os.environ["PORT"])), Receiver).serve_forever()
