# SPDX-License-Identifier: Apache-2.0
"""
strongSwan's pki as an EST client: it renews a device, also one whose key stays in a TPM.

`pki --est` shows a client certificate for renewals only, so it cannot be a registration authority. Its tpm plugin takes
no TCTI but device, tabrmd and mssim by name: swtpm's stands where it looks for the one of /dev/tpmrm0. strongSwan
itself is as Debian ships it.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from birthmark.ca.wiring import open_ca
from birthmark.silicon.port import SLOT_IDENTITY
from birthmark.silicon.tpm2.layout import SLOT_PLACES
from birthmark.testing.forge import new_key
from support.ca_process import RunningCA
from support.est_parts import TPMDevice, born, pem_request, request, tpm_device

TCTI_SWTPM = "libtss2-tcti-swtpm.so.0"
TCTI_DEVICE = "libtss2-tcti-device.so.0"
HANDLE = f"{SLOT_PLACES[SLOT_IDENTITY].key:#x}"


def tss_library(name: str) -> Path:
    listed = subprocess.run(["/sbin/ldconfig", "-p"], check=True, capture_output=True, text=True, timeout=30).stdout
    return next(Path(line.split(" => ")[1]) for line in listed.splitlines() if line.strip().startswith(name))


def environment(folder: Path, tcti: str) -> dict[str, str]:
    """Return the environment in which strongSwan's tpm plugin reaches this TPM. TLS 1.3 is not its default."""
    configuration = folder / "strongswan.conf"
    plugin = f'tpm {{\ntcti {{\nname = device\nopts = "{tcti.removeprefix("swtpm:")}"\n}}\n}}'
    configuration.write_text(f"pki {{\nlibtls {{\nversion_max = 1.3\n}}\nplugins {{\n{plugin}\n}}\n}}\n")
    libraries = folder / "lib"
    libraries.mkdir()
    (libraries / TCTI_DEVICE).symlink_to(tss_library(TCTI_SWTPM))
    return os.environ | {"STRONGSWAN_CONF": str(configuration), "LD_LIBRARY_PATH": str(libraries)}


def pki(ca: RunningCA, env: dict[str, str], csr: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    anchors = ["--cacert", ca.files.folder / "root.pem", "--cacert", ca.files.folder / "issuing.pem"]
    command = ["pki", "--est", "--url", ca.url, *anchors, "--in", csr, "--outform", "pem", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


def certificate_file(folder: Path, certificate: x509.Certificate) -> Path:
    path = folder / "old.pem"
    path.write_bytes(certificate.public_bytes(Encoding.PEM))
    return path


@pytest.fixture(scope="module")
def tpm(ca: RunningCA) -> Iterator[TPMDevice]:
    with tpm_device(ca, "BM-000401") as device:
        yield device


def audited(ca: RunningCA, finding: str) -> bool:
    with open_ca(ca.files.config) as authority:
        return any(row["finding"] == finding for row in authority.audit())


def test_strongswan_proves_itself_with_a_key_in_a_tpm_and_the_ca_refuses_a_request_without_the_san(
    ca: RunningCA, tpm: TPMDevice, tmp_path: Path
) -> None:
    csr = pem_request(tmp_path, request(new_key(), tpm.certificate.subject, []))
    old = certificate_file(tmp_path, tpm.certificate)
    done = pki(ca, environment(tmp_path, tpm.tcti), csr, "--cert", old, "--keyid", HANDLE)
    assert done.returncode != 0
    assert audited(ca, "ca.re.subject")


def test_strongswan_renews_a_device_whose_key_is_in_a_tpm(ca: RunningCA, tpm: TPMDevice, tmp_path: Path) -> None:
    csr = pem_request(tmp_path, tpm.microsoft_csr)
    old = certificate_file(tmp_path, tpm.certificate)
    done = pki(ca, environment(tmp_path, tpm.tcti), csr, "--cert", old, "--keyid", HANDLE)
    assert done.returncode == 0, done.stderr
    new = x509.load_pem_x509_certificate(done.stdout.encode())
    assert new.public_key() == x509.load_der_x509_csr(tpm.microsoft_csr).public_key()
    assert new.subject == tpm.certificate.subject


def test_strongswan_reads_no_request_whose_san_names_a_hardware_module(
    ca: RunningCA, tpm: TPMDevice, tmp_path: Path
) -> None:
    """Its parser knows two kinds of otherName and gives up at any other, so the SAN must stand where it looks not."""
    old = certificate_file(tmp_path, tpm.certificate)
    csr = pem_request(tmp_path, tpm.renewal_csr)
    done = pki(ca, environment(tmp_path, tpm.tcti), csr, "--cert", old, "--keyid", HANDLE)
    assert done.returncode != 0
    assert "parsing certificate request failed" in done.stderr


def test_strongswan_cannot_renew_with_a_key_that_is_not_the_certificate_s(
    ca: RunningCA, tpm: TPMDevice, tmp_path: Path
) -> None:
    other = born(ca, "BM-000402")
    csr, old = pem_request(tmp_path, tpm.microsoft_csr), certificate_file(tmp_path, tpm.certificate)
    key = ca.files.folder / f"{other.name}.key"
    done = pki(ca, environment(tmp_path, tpm.tcti), csr, "--cert", old, "--key", key)
    assert done.returncode != 0
    assert "BEGIN CERTIFICATE" not in done.stdout
