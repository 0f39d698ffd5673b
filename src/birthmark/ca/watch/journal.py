# SPDX-License-Identifier: Apache-2.0
"""
The service's log on stderr: one line per decision and per event, as text for people or as JSON for programs.

docs/reference/operations.md lists the members of a line. A line never holds a secret, a nonce or a body.
"""

import logging
import sys
from datetime import UTC, datetime
from typing import Final, Literal, TextIO, TypeAlias

import msgspec

from birthmark.ca.watch.observation import Decision, Sink

LogFormat: TypeAlias = Literal["text", "json"]
_ENCODE: Final = msgspec.json.Encoder().encode
_SERVER_ERROR: Final = 500


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line that is no decision: a chore that failed, a worker that started."""

    at: str
    level: str
    logger: str
    message: str
    trace: str = ""


def begin_log(form: LogFormat, stream: TextIO | None = None) -> Sink:
    """Send every event of this process to the stream, stderr by default; return the sink for its decisions."""
    out = sys.stderr if stream is None else stream
    handler = logging.StreamHandler(out)
    handler.setFormatter(_JSON() if form == "json" else logging.Formatter("%(asctime)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])

    def write(decision: Decision) -> None:
        # One write per line: lines of several workers on one pipe stay whole (PIPE_BUF), and nothing waits in memory.
        out.write(json_line(decision) if form == "json" else text_line(decision))
        out.flush()

    return write


def json_line(decision: Decision) -> str:
    """Return a decision as one line of JSON."""
    return _ENCODE(decision).decode() + "\n"


def text_line(decision: Decision) -> str:
    """Return a decision as one line for people."""
    said = f"{decision.at} {decision.request} {decision.method} {decision.path!r} {decision.status} {decision.ms} ms"
    finding = f" finding={decision.finding}" if decision.finding else ""
    return f"{said}{finding}{f': {decision.cause!r}' if decision.cause else ''}\n"


class _JSON(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        trace = self.formatException(record.exc_info) if record.exc_info else ""
        return _ENCODE(Line(at, record.levelname.lower(), record.name, record.getMessage(), trace)).decode()
