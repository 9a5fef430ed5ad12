"""A local HTTP server that keeps what is posted to it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.web import answering

PATH = "/hook/s3cr3t-t0ken"
"""Where it listens: webhooks carry their token in the path."""


@dataclass
class Sink:
    """What came in, and how it is answered.

    Attributes:
        address: of the webhook, token included.
        answers: status of each answer, the last one repeated.
        bodies: what was posted, parsed where it is JSON.
        paths: where to.
    """

    address: str
    answers: list[int] = field(default_factory=lambda: [204])
    bodies: list[Any] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    def wait(self, number: int, patience_s: float) -> list[Any]:
        """What was posted, once there are so many; an error when they don't come."""
        end = time.monotonic() + patience_s
        while len(self.bodies) < number and time.monotonic() < end:
            time.sleep(0.1)
        assert len(self.bodies) >= number, f"{len(self.bodies)} of {number} came: {self.bodies}"
        return self.bodies


@contextmanager
def listening() -> Iterator[Sink]:
    """A sink on loopback."""
    sink = Sink("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            status = sink.answers.pop(0) if len(sink.answers) > 1 else sink.answers[0]
            sink.paths.append(self.path)
            sink.bodies.append(json.loads(text) if text.startswith("{") else text)
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_request(self, *_: Any) -> None:
            pass

    with answering(Handler) as address:
        sink.address = f"{address}{PATH}"
        yield sink
