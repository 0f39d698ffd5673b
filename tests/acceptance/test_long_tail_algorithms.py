# SPDX-License-Identifier: Apache-2.0
"""
Design §10, threat "old algorithms": a fleet is born with P-256 and moves to ML-DSA by a change of policy alone.

Boards, rig, CA, cloud and agents are processes. The judge of the signatures is dilithium-py, which implements FIPS 204
from its text; the certificates' frame is read by pyasn1.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from dilithium_py.ml_dsa import ML_DSA_65
from pyasn1.codec.der.decoder import decode
from pyasn1.codec.der.encoder import encode
from pyasn1_alt_modules import rfc5280

from birthmark.core.clock import system_clock
from birthmark.net.tls import client_context
from birthmark.net.transport import HTTPTransport
from birthmark.pki.algorithms import KeyAlgorithm, key_algorithm
from birthmark.pki.crl import read_crl
from birthmark.silicon.address import open_chip
from birthmark.silicon.port import SLOT_IDENTITY, SLOT_NEXT
from birthmark.silicon.simulator.models import NEXT_GENERATION
from birthmark.testing.lab.boards import plug_in
from birthmark.testing.lab.ceremony import offline_authority
from birthmark.testing.lab.files import NEXT_ISSUER
from birthmark.testing.lab.processes import LabProcess, stop
from birthmark.testing.lab.record import Lab
from birthmark.testing.lab.start import start_service
from support.labs import birthmark, certificates, run_panel, running_lab

BORN = 'algorithms = ["P-256"]\nvalidity_days = 1825'


Chips = Callable[[str], str]
"""Starts a chip of a model from the endorsed maker, and returns its address."""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Boards of the next generation, born with P-256 as all others are. Each test takes its own."""
    with running_lab(tmp_path_factory.mktemp("lab"), boards=4, chip=NEXT_GENERATION) as lab:
        assert {verdict["verdict"] for verdict in run_panel(lab).values()} == {"PASS"}
        yield lab


@pytest.fixture
def chips(fleet: Lab) -> Iterator[Chips]:
    started: list[LabProcess] = []

    def plugged(model: str) -> str:
        name = f"loose-{token_hex(3)}"
        ((address, _),) = plug_in(fleet.path, [name], model, offline_authority(fleet.path, "ak_ca"), started)
        return address

    yield plugged
    stop(started)


@contextmanager
def policy(lab: Lab, algorithm: str, issuer: str) -> Iterator[None]:
    """Let the profile name another key and another issuer, and start the CA again: nothing else changes."""
    config = Path(lab.ca_config)
    text = config.read_text()
    assert BORN in text
    config.write_text(text.replace(BORN, f'{BORN}\nissuer = "{issuer}"\nmax_bytes = 12288'.replace("P-256", algorithm)))
    stop([process for process in lab.processes if process.name == "ca"])
    running, _ = start_service(lab.path, "ca")
    try:
        yield
    finally:
        stop([running])
        config.write_text(text)


def held(address: str, slot: str) -> x509.Certificate:
    """Return the certificate that a chip gives back."""
    chip = open_chip(address)
    try:
        der = chip.get_certificate(slot)
    finally:
        chip.close()
    assert der is not None
    return x509.load_der_x509_certificate(der)


def agent(lab: Lab, number: int, *command: str) -> dict[str, str]:
    done = birthmark("device", *command, "--config", lab.boards[number].device_config)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def born(lab: Lab, unit: str, address: str) -> x509.Certificate:
    """Have the rig personalise a board, and return what its chip gives back."""
    assert run_panel(lab, panel=one_board(lab, unit, address))[unit]["verdict"] == "PASS"
    return held(address, SLOT_IDENTITY)


def states(lab: Lab, unit: str) -> list[object]:
    """Return the state of each certificate of a unit, the oldest first."""
    return [row["state"] for row in certificates(lab) if row["unit_serial"] == unit]


def one_board(lab: Lab, unit: str, address: str) -> Path:
    panel = lab.path / f"panel-{unit}.toml"
    panel.write_text(f'[[position]]\nunit = "{unit}"\nchip = "{address}"\n')
    return panel


def require_signed(certificate: x509.Certificate, issuer: x509.Certificate) -> None:
    """Have dilithium-py verify the issuer's ML-DSA-65 signature over the certificate."""
    read, rest = decode(certificate.public_bytes(Encoding.DER), asn1Spec=rfc5280.Certificate())
    above, _ = decode(issuer.public_bytes(Encoding.DER), asn1Spec=rfc5280.Certificate())
    assert not rest
    key = above["tbsCertificate"]["subjectPublicKeyInfo"]["subjectPublicKey"].asOctets()
    tbs = encode(read["tbsCertificate"])
    assert ML_DSA_65.verify(key, tbs, read["signature"].asOctets())
    assert not ML_DSA_65.verify(key, tbs + b"\0", read["signature"].asOctets())


def next_issuing(lab: Lab) -> x509.Certificate:
    return x509.load_pem_x509_certificate((lab.path / "pki/next-issuing.pem").read_bytes())


def listed(lab: Lab) -> frozenset[int]:
    """Return what the list of the next issuing CA names."""
    transport = HTTPTransport(lab.ca_url, client_context(Path(lab.trust).read_bytes()))
    try:
        body = transport.request("GET", f"/v1/issuers/{NEXT_ISSUER}/crl").body
    finally:
        transport.close()
    return read_crl(body, next_issuing(lab), system_clock()).serials


def require_verified(lab: Lab, certificate: x509.Certificate, root: str) -> None:
    """Have `birthmark verify` take every step of the cloud."""
    path = lab.path / "judged.pem"
    path.write_bytes(certificate.public_bytes(Encoding.PEM))
    trust = ("--chipmaker-root", lab.chipmaker_trust, "--root", lab.path / root)
    done = birthmark("verify", path, *trust, "--json")
    assert json.loads(done.stdout)["accepted"], done.stdout


def test_the_fleet_moves_from_p256_to_ml_dsa_by_policy_alone(fleet: Lab) -> None:
    with policy(fleet, "ML-DSA-65", NEXT_ISSUER):
        for number, board in enumerate(fleet.boards[:2]):
            before = held(board.chip, SLOT_IDENTITY)
            assert key_algorithm(before.public_key()) is KeyAlgorithm.P256
            report = agent(fleet, number, "rotate")
            after = held(board.chip, SLOT_NEXT)
            assert key_algorithm(after.public_key()) is KeyAlgorithm.MLDSA65
            assert after.subject == before.subject
            require_signed(after, next_issuing(fleet))
            require_verified(fleet, after, "pki/next-device-trust.pem")
            # TLS cannot use the new key yet: the device goes on with the old one, and the cloud goes on taking it.
            assert report["new"] != report["in_use"] == report["old"]
            assert "telemetry" in agent(fleet, number, "connect")["rights"]
            assert held(board.chip, SLOT_IDENTITY) == before
            assert states(fleet, board.unit) == ["confirmed", "confirmed"]
        superseded = held(fleet.boards[0].chip, SLOT_NEXT)
        again = agent(fleet, 0, "rotate")
        assert again["in_use"] != again["new"] != report["new"]
        assert states(fleet, fleet.boards[0].unit) == ["confirmed", "superseded", "confirmed"]
        assert listed(fleet) == {superseded.serial_number}
    with policy(fleet, "P-256", ""):
        # Whoever breaks P-256 one day cannot take the devices back to it.
        done = birthmark("device", "rotate", "--config", fleet.boards[1].device_config)
        assert done.returncode != 0
        assert "ca.re.weaker" in done.stderr
        assert "telemetry" in agent(fleet, 1, "connect")["rights"]


def test_a_board_is_born_with_ml_dsa_under_an_ml_dsa_issuer(fleet: Lab, chips: Chips) -> None:
    address = chips(NEXT_GENERATION)
    with policy(fleet, "ML-DSA-65", NEXT_ISSUER):
        certificate = born(fleet, "BM-000765", address)
        assert key_algorithm(certificate.public_key()) is KeyAlgorithm.MLDSA65
        require_signed(certificate, next_issuing(fleet))
        require_verified(fleet, certificate, "pki/next-device-trust.pem")
        again = run_panel(fleet, "rig-b", one_board(fleet, "BM-000765", address))
        assert again["BM-000765"]["verdict"] == "PASS-ALREADY"


@pytest.mark.parametrize(("number", "algorithm"), [(2, KeyAlgorithm.P384), (3, KeyAlgorithm.ED25519)])
def test_boards_are_born_with_and_fleets_move_to(
    fleet: Lab, chips: Chips, number: int, algorithm: KeyAlgorithm
) -> None:
    with policy(fleet, algorithm.value, ""):
        certificate = born(fleet, f"BM-00080{number}", chips(NEXT_GENERATION))
        assert key_algorithm(certificate.public_key()) is algorithm
        require_verified(fleet, certificate, "pki/device-trust.pem")
        report = agent(fleet, number, "rotate")
        moved = held(fleet.boards[number].chip, SLOT_NEXT)
        assert key_algorithm(moved.public_key()) is algorithm
        # A key that opens sessions is put in use; one that does not stays beside.
        assert (report["in_use"] == report["new"]) is algorithm.signs_handshakes
        assert "telemetry" in agent(fleet, number, "connect")["rights"]


def test_a_chip_that_cannot_make_the_key_keeps_its_identity(fleet: Lab, chips: Chips) -> None:
    address = chips("optiga-trust-m")
    with policy(fleet, "P-256", ""):
        before = born(fleet, "BM-000778", address)
    config = fleet.path / "devices/today.toml"
    of_first = Path(fleet.boards[0].device_config).read_text()
    config.write_text(of_first.replace(fleet.boards[0].chip, address).replace(fleet.boards[0].unit, "BM-000778"))
    with policy(fleet, "ML-DSA-65", NEXT_ISSUER):
        done = birthmark("device", "rotate", "--config", config)
        assert done.returncode != 0
        assert "chip." in done.stderr
        done = birthmark("device", "connect", "--config", config)
        assert done.returncode == 0, done.stderr
        assert held(address, SLOT_IDENTITY) == before
