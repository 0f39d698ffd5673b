# SPDX-License-Identifier: Apache-2.0
"""How a station says that its CA is, by what a server answers over TLS."""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from birthmark.line.station.ca_watch import HEALTH_PATH, MEMORY_S, CAState, CAWatch
from birthmark.net import tls
from birthmark.net.asgi import HTTPSServer, Receive, Scope, Send
from birthmark.net.transport import HTTPTransport
from support.https_server import serving
from support.tls_files import TLSFiles

AT = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
TIMEOUT_S = 10.0


class Answers:
    """What the server says, and how often it was asked."""

    status, body, asked = 200, b'{"sound":true,"ready":true}', 0

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        assert scope["path"] == HEALTH_PATH
        self.asked += 1
        headers = [(b"content-length", b"%d" % len(self.body))]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def files(tmp_path: Path) -> TLSFiles:
    return TLSFiles(tmp_path, datetime.now(UTC))


@pytest.fixture
def server(files: TLSFiles, answers: Answers) -> Iterator[HTTPSServer]:
    identity = files.server()
    with serving(answers, tls.server_context(identity.certificate, identity.key, files.trust)) as running:
        yield running


class Watched:
    """A watch over one server, and its stopwatch."""

    def __init__(self, url: str, files: TLSFiles) -> None:
        self.transport = HTTPTransport(url, tls.client_context(files.trust), TIMEOUT_S)
        self.seconds = 100.0
        self.watch = CAWatch(self.transport, lambda: AT, lambda: self.seconds)


@pytest.fixture
def watched(server: HTTPSServer, files: TLSFiles) -> Iterator[Watched]:
    watched = Watched(server.url, files)
    with closing(watched.transport):
        yield watched


@pytest.mark.parametrize(
    ("status", "body", "state"),
    [
        (200, b'{"sound":true,"ready":true}', CAState.WELL),
        (200, b'{"sound":false,"ready":true}', CAState.FAULTY),
        (503, b'{"finding":"ca.health"}', CAState.CANNOT_ISSUE),
        (200, b"<html>", CAState.CANNOT_ISSUE),
    ],
)
def test_a_ca_is_what_it_answers(watched: Watched, answers: Answers, status: int, body: bytes, state: CAState) -> None:
    answers.status, answers.body = status, body
    assert (watched.watch.now().state, watched.watch.now().at) == (state, AT)


def test_an_answer_is_remembered_for_a_while(watched: Watched, answers: Answers) -> None:
    assert watched.watch.now().state is CAState.WELL
    answers.status = 503
    assert watched.watch.now().state is CAState.WELL
    watched.seconds += MEMORY_S + 0.1
    assert watched.watch.now().state is CAState.CANNOT_ISSUE
    assert answers.asked == 2


def test_a_ca_that_nobody_reaches_or_trusts_is_away_and_says_why(server: HTTPSServer, tmp_path: Path) -> None:
    (tmp_path / "others").mkdir()
    others = TLSFiles(tmp_path / "others", datetime.now(UTC))
    for url in (server.url, "https://127.0.0.1:1"):
        watched = Watched(url, others)
        with closing(watched.transport):
            found = watched.watch.now()
        assert found.state is CAState.AWAY
        assert found.detail
