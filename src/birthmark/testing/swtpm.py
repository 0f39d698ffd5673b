# SPDX-License-Identifier: Apache-2.0
"""A software TPM 2.0 on a Unix socket: how it is started, and how one knows that it is there."""

import socket
from pathlib import Path

ANSWER_TIMEOUT_S = 10.0
_CMD_GET_CAPABILITY = (1).to_bytes(4, "big")


def swtpm_command(state: Path, server: Path) -> list[str]:
    """
    Return the command that runs a TPM whose memory is `state` and whose commands come through the socket `server`.

    With an empty state it manufactures itself: two TPMs never share seeds. The TCTI `swtpm:path=<server>` reaches it.
    """
    # The TCTI derives the name of the control socket from the data socket's: it must be <path>.ctrl.
    command = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state}", "--flags", "not-need-init,startup-clear"]
    return [*command, "--server", f"type=unixio,path={server}", "--ctrl", f"type=unixio,path={server}.ctrl"]


def swtpm_answers(server: Path) -> bool:
    """
    Say whether the TPM behind the socket takes commands.

    The control socket is asked, not the data socket: a visit there would be a TPM client of its own. Its answer comes
    from the main loop, which begins when both sockets listen; a mere connection would be too early.
    """
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(ANSWER_TIMEOUT_S)
        try:
            probe.connect(f"{server}.ctrl")
            probe.sendall(_CMD_GET_CAPABILITY)
            return bool(probe.recv(1))
        except OSError:
            return False
