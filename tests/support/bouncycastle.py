# SPDX-License-Identifier: Apache-2.0
"""BouncyCastle's EST client (Debian's libbcpkix-java), built from `tests/judges/est/Judge.java`."""

import subprocess
from pathlib import Path

from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, load_pem_private_key, pkcs12
from cryptography.x509 import load_pem_x509_certificates

SOURCE = Path(__file__).parents[1] / "judges/est/Judge.java"
JARS = ":".join(f"/usr/share/java/{name}.jar" for name in ("bcpkix", "bcprov", "bcutil"))
PASSWORD = "only-for-this-test"  # noqa: S105 of a key that lives for one test


def build(folder: Path) -> Path:
    """Compile the judge into a folder and return it."""
    subprocess.run(["javac", "-cp", JARS, "-d", folder, SOURCE], check=True, timeout=120)
    return folder


def identity(certificate: Path, key: Path) -> Path:
    """Write the PKCS#12 file that Java wants beside the PEM files, and return it."""
    own, *chain = load_pem_x509_certificates(certificate.read_bytes())
    secret = load_pem_private_key(key.read_bytes(), None)
    out = certificate.with_suffix(".p12")
    encryption = BestAvailableEncryption(PASSWORD.encode())
    out.write_bytes(pkcs12.serialize_key_and_certificates(b"client", secret, own, chain or None, encryption))  # type: ignore[arg-type] # keys of ours are such
    return out


def run(
    judge: Path, url: str, label: str, root: Path, client: Path, *call: str | Path
) -> subprocess.CompletedProcess[str]:
    """Make one EST call: `cacerts`, `csrattrs`, or an enrolment with a request. Exit code 3: the server refused."""
    command = ["java", "-XX:+UseSerialGC", "-cp", f"{JARS}:{judge}", "Judge", url.removeprefix("https://"), label]
    return subprocess.run(
        [*command, root, client, PASSWORD, *call], capture_output=True, text=True, timeout=60, check=False
    )
