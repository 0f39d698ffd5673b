# SPDX-License-Identifier: Apache-2.0
"""A SoftHSM token in a directory of its own. `SOFTHSM2_CONF` must name the configuration while the token is in use."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
LABEL = "birthmark"
PIN = b"123456"


@dataclass(frozen=True)
class SoftHSM:
    configuration: Path
    tokens: Path


def make_token(directory: Path, label: str = LABEL) -> SoftHSM:
    """Initialise a token with softhsm2-util, as an administrator does."""
    tokens = directory / "tokens"
    tokens.mkdir(exist_ok=True)
    configuration = directory / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {tokens}\nlog.level = ERROR\n")
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN.decode(), "--so-pin", "12345678"],
        check=True,
        capture_output=True,
        env={"SOFTHSM2_CONF": str(configuration), "PATH": "/usr/bin:/bin"},
    )
    return SoftHSM(configuration, tokens)


def pkcs11_tool(hsm: SoftHSM, *arguments: str) -> str:
    """Return what OpenSC's pkcs11-tool prints of the token. It takes its PIN from the environment."""
    login = ("--module", str(MODULE), "--token-label", LABEL, "--login", "--pin", "env:PIN")
    done = subprocess.run(
        ["pkcs11-tool", *login, *arguments],
        check=True,
        capture_output=True,
        text=True,
        env={"SOFTHSM2_CONF": str(hsm.configuration), "PATH": "/usr/bin:/bin", "PIN": PIN.decode()},
    )
    return done.stdout
