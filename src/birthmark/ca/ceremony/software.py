# SPDX-License-Identifier: Apache-2.0
"""The versions of what makes keys and certificates here, for the transcript."""

import platform
from importlib.metadata import version

from cryptography.hazmat.backends.openssl import backend


def versions() -> dict[str, str]:
    """Return name and version of each part."""
    return {
        "birthmark": version("birthmark"),
        "cryptography": version("cryptography"),
        "openssl": backend.openssl_version_text(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }
