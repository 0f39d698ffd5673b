# SPDX-License-Identifier: Apache-2.0
"""docs/reference/formats.md: its facts are the program's, and the program reads its examples as the page says."""

import importlib
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ObjectIdentifier

from birthmark.core import registry
from birthmark.core.birth import BirthRecord, read_birth, verify_birth
from birthmark.core.config import parse
from birthmark.core.ids import fingerprint
from birthmark.core.possession import possession_message
from birthmark.core.registry import PKIX_EVIDENCE
from birthmark.est.messages import (
    CERTS_ONLY_MEDIA_TYPE,
    CSRATTRS_MEDIA_TYPE,
    NONCE_MEDIA_TYPE,
    PKCS10_MEDIA_TYPE,
    NonceRequest,
    NonceResponse,
    decode_body,
    decode_nonce_request,
    decode_nonce_response,
    encode_nonce_request,
    encode_nonce_response,
)
from birthmark.evidence.appraisal import appraise
from birthmark.evidence.bundle import make_bundle, read_bundle
from birthmark.evidence.endorsements import EndorsementsFile, build
from birthmark.evidence.verdict import AttestedKey, require
from birthmark.pki.cmw import cmw_extension, read_cmw
from birthmark.pki.csr import CertificateRequest, read_csr
from birthmark.pki.names import unit_serial_of
from birthmark.testing.lab.files import endorsements_toml
from birthmark.testing.lab.processes import LabProcess
from birthmark.testing.lab.record import Board, Lab
from support.documents import ROOT, blocks, section

PAGE = (ROOT / "docs/reference/formats.md").read_text()
EXAMPLES = ROOT / "docs/reference/examples"
KINDS = ["", "tpm-"]
CA_MEDIA_TYPES = {"application/jose", "application/pkix-crl"}


def rows(text: str, columns: int) -> list[list[str]]:
    """The cells of every table row with so many columns, without head and rule."""
    found = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")
    ]
    return [cells for cells in found if len(cells) == columns and not set(cells[0]) <= {"-"}]


def first_column(text: str, columns: int) -> list[str]:
    """Every name in code style in the first column."""
    return [name for cells in rows(text, columns) for name in re.findall(r"`([^`]+)`", cells[0])]


def certificate(name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((EXAMPLES / name).read_bytes())


def text(name: str) -> str:
    return (EXAMPLES / name).read_text().strip()


def request(kind: str) -> CertificateRequest:
    return read_csr(decode_body(text(f"{kind}request.b64").encode()))


def attested(kind: str) -> AttestedKey:
    """The example's evidence, appraised under the example's chip maker at the time of the example."""
    file = parse(EndorsementsFile, endorsements_toml(), "the lab's endorsements")
    pem = (EXAMPLES / f"{kind}chipmaker.pem").read_bytes()
    endorsements = build(file, {maker.trust: pem for maker in file.maker})
    asked = request(kind)
    assert asked.bundle is not None
    return require(appraise(asked.bundle, asked.spki, endorsements, datetime(2026, 11, 24, tzinfo=UTC)))


# --- facts -----------------------------------------------------------------------------------------------------


def test_the_table_of_numbers_is_the_registry() -> None:
    told = {
        name: cells[1]
        for cells in rows(section(PAGE, "## Numbers"), 3)
        for name in re.findall(r"`([A-Z0-9_]+)`", cells[0])
    }
    numbers = {
        name: value.dotted_string for name, value in vars(registry).items() if isinstance(value, ObjectIdentifier)
    }
    assert told == numbers


def test_the_arcs_are_the_registry_s() -> None:
    assert f"`PKIX_EVIDENCE_ARC` = {registry.PKIX_EVIDENCE_ARC} " in PAGE
    assert f"`CHIP_MODEL_ARC` = {registry.CHIP_MODEL_ARC} " in PAGE


def test_every_unregistered_number_is_told_as_such() -> None:
    for name, number, status in rows(section(PAGE, "## Numbers"), 3):
        if number.startswith(registry.PKIX_EVIDENCE_ARC):
            assert "not registered" in status or status == "as above", name


def test_the_media_types_are_the_program_s() -> None:
    told = set(first_column(section(PAGE, "## Numbers"), 3)) - set(vars(registry))
    ours = {NONCE_MEDIA_TYPE, PKCS10_MEDIA_TYPE, CERTS_ONLY_MEDIA_TYPE, CSRATTRS_MEDIA_TYPE}
    assert told == ours | {registry.ATTESTATION_BUNDLE_MEDIA_TYPE, registry.EAR_MEDIA_TYPE} | CA_MEDIA_TYPES
    from_the_edge = importlib.import_module("birthmark.ca.http")
    assert {
        from_the_edge.BIRTH_MEDIA_TYPE,
        importlib.import_module("birthmark.ca.status.http").CRL_MEDIA_TYPE,
    } == CA_MEDIA_TYPES


def test_the_limits_are_the_program_s() -> None:
    limits = [cells for cells in rows(section(PAGE, "## Sizes"), 3) if cells[0].startswith("`")]
    assert len(limits) == 11
    for name, number, _ in limits:
        module, _, constant = name.strip("`").rpartition(".")
        assert int(number.replace(",", "")) == getattr(importlib.import_module(f"birthmark.{module}"), constant), name


def test_the_claims_are_those_of_the_registry() -> None:
    told = {name for cells in rows(section(PAGE, "## PKIX Evidence"), 4) for name in re.findall(r"`(\w+)`", cells[1])}
    assert told == {name for name in vars(registry) if name.startswith("CLAIM_")}


def test_the_members_of_a_birth_record_are_the_program_s() -> None:
    assert first_column(section(PAGE, "## Birth record"), 2) == list(BirthRecord.__struct_fields__)


def test_the_members_of_lab_json_are_the_program_s() -> None:
    part = section(PAGE, "## lab.json")
    assert sorted(first_column(part, 2)) == sorted(Lab.__struct_fields__)
    for name in (*Board.__struct_fields__, *LabProcess.__struct_fields__):
        assert f"`{name}`" in part


def test_the_members_of_the_nonce_call_are_the_program_s() -> None:
    told = set(first_column(section(PAGE, "## Nonce call"), 2))
    asked = msgspec.json.decode(encode_nonce_request(NonceRequest(32, PKIX_EVIDENCE, "BM-000001")))
    answered = msgspec.json.decode(encode_nonce_response(NonceResponse(bytes(32), 8)))
    nested = {"reqTypeInfo.type", "reqTypeInfo.reqInfo.unit"}
    assert told == (set(asked) - {"reqTypeInfo"}) | nested | set(answered) | {"respTypeInfo"}
    assert set(asked["reqTypeInfo"]) | set(asked["reqTypeInfo"]["reqInfo"]) == {"type", "reqInfo", "unit"}


def test_rfc_8902_is_put_right_once() -> None:
    assert PAGE.count("**RFC 9999** has it") == 1


# --- examples --------------------------------------------------------------------------------------------------


def test_the_examples_on_the_page_are_those_in_the_files() -> None:
    command = [sys.executable, ROOT / "tools/format_examples.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_example_holds_a_private_key() -> None:
    assert not any(b"PRIVATE KEY" in path.read_bytes() for path in EXAMPLES.iterdir())


@pytest.mark.parametrize("kind", KINDS)
def test_the_evidence_goes_unchanged_from_the_request_into_the_certificate(kind: str) -> None:
    device = certificate(f"{kind}device.pem")
    asked = request(kind)
    assert asked.bundle == read_cmw(device)
    assert asked.spki == device.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert unit_serial_of(asked.subject) == unit_serial_of(device.subject)


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_program_writes_today_are_the_bytes_of_the_example(kind: str) -> None:
    device = certificate(f"{kind}device.pem")
    bundle = read_bundle(read_cmw(device))
    certificates = tuple(each.public_bytes(Encoding.DER) for each in bundle.certificates)
    assert make_bundle(bundle.statement_type, bundle.statement, certificates) == bundle.der
    extension = device.extensions.get_extension_for_oid(registry.ID_PE_CMW)
    assert extension.value.public_bytes() == cmw_extension(bundle.der).value


@pytest.mark.parametrize("kind", KINDS)
def test_the_examples_evidence_appraises(kind: str) -> None:
    assert attested(kind).spki == request(kind).spki


def test_the_nonce_that_was_granted_is_the_nonce_in_the_evidence() -> None:
    asked = text("nonce-request.json").encode()
    wanted = decode_nonce_request(asked)
    assert encode_nonce_request(wanted) == asked
    assert (wanted.statement_type, wanted.unit) == (PKIX_EVIDENCE, "BM-000001")
    assert decode_nonce_response(text("nonce-response.json").encode()).nonce == attested("").nonce


def test_the_birth_record_is_about_the_example_and_signed_by_its_rig() -> None:
    record = verify_birth(text("birth.jws"), certificate("rig.pem"))
    device = certificate("device.pem")
    assert record == read_birth(text("birth.jws"))
    assert record.certificate_sha256 == fingerprint(device.public_bytes(Encoding.DER))
    assert record.certificate_serial == f"{device.serial_number:x}"
    assert record.evidence_sha256 == fingerprint(read_cmw(device))
    assert record.key_sha256 == fingerprint(request("").spki)
    assert record.chip_serial == attested("").chip.serial


def test_the_possession_digest_is_the_program_s() -> None:
    device = certificate("device.pem").public_bytes(Encoding.DER)
    assert f"digest       {fingerprint(possession_message(bytes(range(32)), device))}" in PAGE


def test_lab_json_is_read_as_a_lab() -> None:
    lab = msgspec.json.decode(text("lab.json"), type=Lab)
    assert lab.directory == "/tmp/lab"  # noqa: S108 the example's own path


def test_the_command_on_the_page_verifies_the_example() -> None:
    (block,) = blocks(PAGE)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", block.commands], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"the key lives in optiga-trust-m {attested('').chip.serial}" in done.stdout
