# SPDX-License-Identifier: Apache-2.0
"""The log over HTTP from a real CA process: what an auditor downloads is the log, and nobody else downloads it."""

import time
from collections.abc import Callable, Iterator

import pytest

from birthmark.ca.audit.wiring import log_key, verify_url
from birthmark.ca.transparency.http import LOG_PATH
from birthmark.core.roles import Role
from birthmark.net.tls import client_context
from birthmark.net.transport import Response
from birthmark.tlog.checkpoint import open_checkpoint
from birthmark.tlog.keys import VerifierKey, read_verifier_key
from birthmark.tlog.tiles import EntryBundle, Tile, decode_bundle
from birthmark.tlog.tree import leaf_hash
from support.ca_process import CAFiles, RunningCA, running_ca
from support.officers import Person

NOBODY = lambda _done: None  # noqa: E731 progress that nobody looks at


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCA]:
    files = CAFiles(tmp_path_factory.mktemp("ca"))
    for role in (Role.AUDITOR, Role.APPROVER):
        person = Person.hired(files.operations, f"{role.value} one", role, files.now)
        files.identity(role.value, person.key, person.certificate, files.operations.certificate)
    with running_ca(files) as running:
        yield running


@pytest.fixture(scope="module")
def key(ca: RunningCA) -> VerifierKey:
    return read_verifier_key(log_key(ca.files.config))


def got(ca: RunningCA, path: str, client: str | None = "auditor") -> Response:
    return ca.transport(client).request("GET", f"{LOG_PATH}/{path}")


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def size(ca: RunningCA, key: VerifierKey) -> int:
    wait_for(lambda: got(ca, "checkpoint").status == 200)
    return open_checkpoint(got(ca, "checkpoint").body, [key]).head.size


def test_the_checkpoint_is_not_kept_by_caches(ca: RunningCA, size: int) -> None:
    assert got(ca, "checkpoint").headers["cache-control"] == "no-cache"
    assert size > 0


def test_tiles_and_entries_are_those_of_the_log_and_stay_so(ca: RunningCA, size: int) -> None:
    bundle, tile = EntryBundle(0, size), Tile(0, 0, size)
    served = got(ca, bundle.path)
    assert "immutable" in served.headers["cache-control"]
    hashes = b"".join(leaf_hash(entry) for entry in decode_bundle(served.body, bundle))
    assert got(ca, tile.path).body == hashes


def test_an_auditor_verifies_the_whole_log_from_elsewhere(ca: RunningCA, key: VerifierKey, size: int) -> None:
    folder = ca.files.folder
    auditor = client_context((folder / "root.pem").read_bytes(), folder / "auditor.pem", folder / "auditor.key")
    now, note = verify_url(ca.url, auditor, [key], [], NOBODY)
    assert now.head.size >= size
    assert verify_url(ca.url, auditor, [key], [open_checkpoint(note, [key])], NOBODY)[0].head.size >= now.head.size


@pytest.mark.parametrize("client", [None, "rig-a", "approver"])
@pytest.mark.parametrize("path", ["checkpoint", "tile/0/000.p/1", "tile/entries/000.p/1"])
def test_nobody_else_reads_the_log(ca: RunningCA, path: str, client: str | None) -> None:
    answer = got(ca, path, client)
    assert (answer.status, answer.body.split(b":")[0]) in {(403, b"ca.1.role"), (403, b"ca.1.officer")}


@pytest.mark.parametrize(
    "path", ["tile/0/999", "tile/entries/999", "tile/0/0", "tile/0/000.p/256", "", "tile/9/000", "../births"]
)
def test_what_is_not_there_is_not_found(ca: RunningCA, path: str) -> None:
    assert got(ca, path).status == 404
