# SPDX-License-Identifier: Apache-2.0
"""A lost card or a stolen rig: its key is denied, and all that it could do ends long before its certificate does."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from birthmark.ca.errors import Refused
from birthmark.core.ids import fingerprint
from birthmark.core.roles import Role
from birthmark.net.transport import Response
from support.ca_parts import ORDER, CAParts
from support.ca_process import CAFiles, RunningCA, running_ca
from support.offices import hire_all, identity_of

LOST = identity_of(Role.SECURITY_OFFICER)


def key_of(certificate: x509.Certificate) -> str:
    return fingerprint(certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCA]:
    files = CAFiles(tmp_path_factory.mktemp("ca"))
    hire_all(files)
    denied = [key_of(certificate(files.folder, name)) for name in (LOST, "rig-a")]
    files.config.write_text(f"denied_clients = {denied}\n{files.config.read_text()}")
    with running_ca(files) as running:
        yield running


def certificate(folder: Path, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(folder.joinpath(f"{name}.pem").read_bytes())


def asked(ca: RunningCA, who: str) -> tuple[int, str]:
    answer: Response = ca.transport(who).request("GET", "/v1/health/details")
    return answer.status, "" if answer.status == 200 else str(msgspec.json.decode(answer.body)["finding"])


def test_who_has_a_denied_key_is_nobody_and_all_others_are_who_they_were(ca: RunningCA) -> None:
    assert asked(ca, LOST) == (403, "ca.1.officer")
    assert asked(ca, "rig-a") == (403, "ca.1.officer")
    assert asked(ca, identity_of(Role.AUDITOR)) == (200, "")
    assert asked(ca, "rig-b") == (200, "")


def test_an_order_that_a_denied_person_has_signed_issues_nothing(parts: CAParts) -> None:
    with parts.store.reading() as ledger:
        order = ledger.order(ORDER)
        proposal = None if order is None else ledger.proposal(order.document)
    assert proposal is not None
    signer = x509.load_der_x509_certificate(proposal.certificate)
    parts.policy = replace(parts.policy, trust=replace(parts.policy.trust, denied_keys=frozenset({key_of(signer)})))
    parts.ca = parts.service(parts.store)
    with pytest.raises(Refused) as refused:
        parts.born(parts.board())
    assert refused.value.finding == "ca.8.warrant"
