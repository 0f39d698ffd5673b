# SPDX-License-Identifier: Apache-2.0
"""golang.org/x/mod/sumdb, which verifies Go's checksum database, judges our log: checkpoint, root, proofs, tiles."""

import base64
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from birthmark.tlog.keys import Signer
from birthmark.tlog.reading import prove_consistency, prove_inclusion, read_head
from birthmark.tlog.tiles import Tile
from support.logs import ED25519_SIGNER, SIGNERS, MemoryLog, log_of

SOURCE = Path(__file__).parents[1] / "judges/tlog/main.go"
# Debian's library packages are a GOPATH; nothing is fetched.
OFFLINE = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOFLAGS": "", "CGO_ENABLED": "0"}


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("judge")
    environment = {**OFFLINE, "PATH": os.environ["PATH"], "GOCACHE": str(directory / "cache")}
    subprocess.run(["go", "build", "-o", directory / "judge", SOURCE], check=True, env=environment)
    return directory / "judge"


def judged(judge: Path, made: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [judge], input=msgspec.json.encode(made).decode(), capture_output=True, text=True, check=False
    )


def made(log: MemoryLog, signers: Sequence[Signer], places: Sequence[int]) -> dict[str, Any]:
    head = log.edge.head()
    olds = [read_head(log.shelf, place) for place in places if place]
    return {
        "verifier_key": ED25519_SIGNER.verifier.text,
        "checkpoint": log.checkpoint(*signers).decode(),
        "entries": log.entries,
        "tiles": {Tile(*place, len(data) // 32).path: data for place, data in log.shelf.rows.items()},
        "inclusion": [{"index": index, "proof": texts(prove_inclusion(log.shelf, index, head))} for index in places],
        "consistency": [
            {"size": old.size, "root": texts([old.root])[0], "proof": texts(prove_consistency(log.shelf, old, head))}
            for old in olds
        ],
    }


def texts(hashes: Sequence[bytes]) -> list[str]:
    return [base64.b64encode(each).decode() for each in hashes]


@pytest.mark.parametrize("size", [1, 2, 3, 255, 256, 257, 600])
def test_the_judge_agrees_on_every_proof_of_a_log(judge: Path, size: int) -> None:
    done = judged(judge, made(log_of(size), SIGNERS, range(size)))
    assert done.stderr == ""
    assert done.stdout == f"{size} entries, {size} inclusion proofs, {size - 1} consistency proofs\n"


def test_the_judge_agrees_on_a_log_with_three_levels_of_tiles(judge: Path) -> None:
    places = [0, 1, 255, 256, 65_535, 65_536, 65_537, 65_800, 69_999]
    done = judged(judge, made(log_of(70_000), [ED25519_SIGNER], places))
    assert done.stderr == ""
    assert done.stdout == "70000 entries, 9 inclusion proofs, 8 consistency proofs\n"


@pytest.mark.parametrize(
    ("member", "complaint"),
    [("entries", "root of the entries"), ("checkpoint", "note"), ("inclusion", "proof"), ("tiles", "tile")],
)
def test_the_judge_does_judge(judge: Path, member: str, complaint: str) -> None:
    right, other = made(log_of(600), SIGNERS, [1]), made(log_of(599), SIGNERS, [2])
    done = judged(judge, {**right, member: other[member] if member != "checkpoint" else "no note"})
    assert done.returncode == 1
    assert complaint in done.stderr
