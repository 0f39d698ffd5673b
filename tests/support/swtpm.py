# SPDX-License-Identifier: Apache-2.0
"""A software TPM 2.0 (swtpm) for one test: new seeds, its own process, reached through a socket in the file system."""

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 5.0
_POLL_S = 0.005
_CMD_GET_CAPABILITY = (1).to_bytes(4, "big")  # of swtpm's control channel


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
        _wait_until_listening(process, server.with_suffix(".ctrl"), log)
        yield f"swtpm:path={server}"
    finally:
        _stop(process)
        shutil.rmtree(directory)


def _start(state: Path, server: Path, log: Path) -> subprocess.Popen[bytes]:
    # The TCTI derives the name of the control socket from the data socket's: it must be <path>.ctrl.
    command = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state}"]
    command += ["--server", f"type=unixio,path={server}", "--ctrl", f"type=unixio,path={server}.ctrl"]
    command += ["--flags", "not-need-init,startup-clear"]
    with log.open("wb") as output:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)


def _wait_until_listening(process: subprocess.Popen[bytes], control: Path, log: Path) -> None:
    # The control socket is asked, not the data socket: a visit there would be a TPM client of its own. Its answer
    # comes from the main loop, which begins when both sockets listen; a mere connection would be too early.
    deadline = time.monotonic() + START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(START_TIMEOUT_S)
            try:
                probe.connect(str(control))
                probe.sendall(_CMD_GET_CAPABILITY)
                if probe.recv(1):
                    return
            except OSError:
                time.sleep(_POLL_S)
    raise RuntimeError(f"swtpm did not start: {log.read_text(errors='replace')}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
