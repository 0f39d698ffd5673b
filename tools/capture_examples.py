#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Makes the examples of docs/reference/formats.md anew: what really went over the wire when a lab personalised a board.

One board with a simulated chip and one with a TPM 2.0 (swtpm). Run it when a format changes, and then
tools/format_examples.py: .venv/bin/python tools/capture_examples.py
"""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from birthmark.device.wiring import open_agent
from birthmark.line.config import load_panel, load_rig
from birthmark.line.wiring import run_panel
from birthmark.net.transport import HTTPTransport, Response
from birthmark.testing.lab.record import Lab
from birthmark.testing.lab.start import lab_down, lab_up

EXAMPLES = Path(__file__).parent.parent / "docs" / "reference" / "examples"
RIG = "rig-a"
Sent = dict[str, tuple[bytes, bytes]]


@contextmanager
def _overheard() -> Iterator[Sent]:
    """Note body and answer of each request that this process sends, under the last part of its path."""
    sent: Sent = {}
    original = HTTPTransport.request

    def noting(self: HTTPTransport, method: str, path: str, *rest: Any, **named: Any) -> Response:
        answer = original(self, method, path, *rest, **named)
        body = named.get("body", rest[1] if len(rest) > 1 else b"")
        sent[path.rpartition("/")[2]] = (body, answer.body)
        return answer

    HTTPTransport.request = noting  # type: ignore[method-assign] # a wiretap, in this process only
    try:
        yield sent
    finally:
        HTTPTransport.request = original  # type: ignore[method-assign] # as above


def _personalised(folder: Path, chip: str) -> tuple[Lab, Sent, str]:
    """Personalise one board; return its lab, which has ended, what was sent, and the certificate as PEM."""
    lab = lab_up(folder, boards=1, chip=chip, hsm=False)
    try:
        with _overheard() as sent:
            code = run_panel(load_rig(Path(lab.rig_configs[RIG])), load_panel(Path(lab.panel)), lambda _event: None)
        with open_agent(Path(lab.boards[0].device_config)) as agent:
            certificate = agent.certificate_pem()
    finally:
        lab_down(folder)
    if code:
        raise SystemExit(f"the panel ended with {code}")
    return lab, sent, certificate


def _write_certificates(prefix: str, lab: Lab, certificate: str) -> None:
    _write(f"{prefix}device.pem", certificate.encode())
    _write(f"{prefix}trust.pem", (lab.path / "pki/device-trust.pem").read_bytes())
    _write(f"{prefix}chipmaker.pem", Path(lab.chipmaker_trust).read_bytes())


def _write(name: str, content: bytes) -> None:
    (EXAMPLES / name).write_bytes(content.rstrip(b"\n") + b"\n")


def main() -> None:
    """Write every example."""
    EXAMPLES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="lab-") as folder:
        lab, sent, certificate = _personalised(Path(folder) / "lab", "none")
        _write("nonce-request.json", sent["nonce"][0])
        _write("nonce-response.json", sent["nonce"][1])
        _write("request.b64", sent["simpleenroll"][0])
        _write("birth.jws", sent["births"][0])
        _write_certificates("", lab, certificate)
        rig = x509.load_pem_x509_certificate(Path(lab.rig_certificates[RIG]).read_bytes())
        _write("rig.pem", rig.public_bytes(Encoding.PEM))
        _write("lab.json", (lab.path / "lab.json").read_bytes().replace(str(lab.path).encode(), b"/tmp/lab"))
        lab, sent, certificate = _personalised(Path(folder) / "tpm", "tpm")
        _write("tpm-request.b64", sent["simpleenroll"][0])
        _write_certificates("tpm-", lab, certificate)
    sys.stdout.write(f"{EXAMPLES}: now run tools/format_examples.py\n")


if __name__ == "__main__":
    main()
