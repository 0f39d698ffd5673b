# SPDX-License-Identifier: Apache-2.0
"""The openssl program: the judge of what we make, and the maker of what pyca/cryptography no longer makes."""

import subprocess
from pathlib import Path


def openssl(directory: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run openssl in a directory; whoever wants to see it fail looks at `returncode`."""
    return subprocess.run(["openssl", *arguments], check=False, capture_output=True, cwd=directory)


def made_by_openssl(directory: Path, *arguments: str) -> bytes:
    """Return what openssl prints, once it has succeeded."""
    done = openssl(directory, *arguments)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout
