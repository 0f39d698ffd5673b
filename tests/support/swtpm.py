# SPDX-License-Identifier: Apache-2.0
"""A software TPM 2.0 (swtpm) for one test: new seeds, its own process, reached through a socket in the file system."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from birthmark.testing.swtpm import swtpm_answers, swtpm_command

START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 5.0
_POLL_S = 0.005


@contextmanager
def swtpm(state: Path | None = None) -> Iterator[str]:
    """
    Run a TPM until the block ends; yield its TCTI string, as tpm2-tools and tpm2-pytss take it.

    Without `state` the TPM manufactures itself in an empty directory, so two TPMs never share seeds. With `state` it
    wakes up with what that directory holds: the way to switch one TPM off and on.
    """
    # A directory of its own for the sockets: pytest's are longer than the 108 bytes that a socket's path may have.
    directory = Path(tempfile.mkdtemp(prefix="swtpm-"))
    server = directory / "s"
    if state is None:
        state = directory
    log = directory / "log"
    process = _start(state, server, log)
    try:
        _wait_until_it_answers(process, server, log)
        yield f"swtpm:path={server}"
    finally:
        _stop(process)
        shutil.rmtree(directory)


def _start(state: Path, server: Path, log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(swtpm_command(state, server), stdin=subprocess.DEVNULL, stdout=output, stderr=output)


def _wait_until_it_answers(process: subprocess.Popen[bytes], server: Path, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        if swtpm_answers(server):
            return
        time.sleep(_POLL_S)
    raise RuntimeError(f"swtpm did not start: {log.read_text(errors='replace')}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
