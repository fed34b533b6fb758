"""One event, one line: control characters in a message cannot forge a second one."""

import json
import logging
import time


class LineFormatter(logging.Formatter):
    """`2026-01-31T12:00:00Z INFO name message`, escaped so that it stays on one line."""

    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%SZ")

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        return line if line.isprintable() else json.dumps(line)[1:-1]
