# SPDX-License-Identifier: Apache-2.0
"""
One board's way: observe, then only those of the eight steps that are still missing.

Each step is journalled before it happens and none is repeated blindly: after a communication error the chip is
observed again, once, and what is found there decides. docs/reference/line.md lists steps, verdicts and findings.
"""

import secrets
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ObjectIdentifier

from birthmark.core.birth import BirthRecord
from birthmark.core.ids import fingerprint
from birthmark.core.possession import CHALLENGE_BYTES, possession_message
from birthmark.evidence.bundle import make_bundle
from birthmark.evidence.eligibility import algorithm_of
from birthmark.line.births import Rig
from birthmark.line.chip_time import TimedChip
from birthmark.line.errors import AuthorityAway, AuthorityRefused, BoardFailed
from birthmark.line.fixture.places import UNSWITCHED, FixturePower
from birthmark.line.fixture.sharing import Shared
from birthmark.line.hold import Holds
from birthmark.line.interlock import Interlock, Unlocked
from birthmark.line.journal import BoardJournal, Desk, Result, Step
from birthmark.line.leases import Leases
from birthmark.line.observation import (
    Known,
    Plan,
    Rules,
    Seen,
    check_certificate,
    decide,
    evidence_digest,
    look,
    read_certificate,
    spki_of,
)
from birthmark.line.ports import Authority
from birthmark.line.recipe import Recipe
from birthmark.line.retries import Tries
from birthmark.line.telling import Told
from birthmark.pki.algorithms import sign_data, verify_data, verifying_key
from birthmark.pki.csr import build_csr
from birthmark.pki.errors import AlgorithmRefused
from birthmark.pki.names import request_subject
from birthmark.silicon.errors import ChipError
from birthmark.silicon.keys import chip_key
from birthmark.silicon.port import Algorithm, ChipIdentity

FRESH_NONCES = 3
"""How often evidence is made anew because the CA no longer takes its nonce, as after a long hold."""
_STALE = frozenset({"ca.6.nonce-unknown", "ca.6.nonce-expired", "ca.6.nonce-used"})


@dataclass(frozen=True, slots=True)
class Station:
    """What every board of one run shares."""

    rig: Rig
    authority: Authority
    rules: Rules
    desk: Desk
    holds: Holds
    leases: Leases
    recipe: Recipe
    key_type: Algorithm
    """What the chips' keys are to be."""
    background: Executor
    power: FixturePower = UNSWITCHED
    interlock: Interlock = field(default_factory=Unlocked)
    shared: Shared = field(default_factory=Shared)


@dataclass(frozen=True, slots=True)
class Identified:
    """A board with its identity: how it got there, and the certificate that it holds and has proven."""

    result: Result
    certificate: x509.Certificate
    der: bytes


class Sequence:
    """The steps of one board. Used by one thread, once."""

    def __init__(self, station: Station, journal: BoardJournal, chip: TimedChip, *, position: int, unit: str) -> None:
        self._station = station
        self._journal = journal
        self._chip = chip
        self._position = position
        self._unit = unit
        self._started = station.desk.now()
        self._tries = Tries(station.recipe.retries)
        self._nonce: Future[bytes] | None = None

    def run(self) -> Identified:
        """
        Return once the board has its identity and, unless it had one before, its birth record is on disk.

        Raises:
            Contradiction: quarantine; nothing was written to the chip.
            BirthmarkError: the board failed; the next run goes on from where it is.

        """
        while True:
            try:
                return self._once()
            except ChipError as fault:
                pause_s = self._tries.pause_s(fault.finding)
                if pause_s is None:
                    raise
                # The chip may or may not have done what was asked. It is looked at again, never asked again.
                self._station.leases.fault(self._unit)
                self._station.holds.pause(pause_s)
                self._chip.reconnect()

    def _once(self) -> Identified:
        with self._step(Step.OBSERVE):
            seen = look(self._chip)
            self._check_model(seen.chip)
            plan = decide(seen, self._known(seen), self._unit, self._station.rules, self._station.desk.clock())
            self._saw(seen, seen.spki)
        if plan in {Plan.VERIFY, Plan.FINISH}:
            certificate = read_certificate(seen.certificate)
        else:
            certificate = self._personalise(seen)
        der = certificate.public_bytes(Encoding.DER)
        self._prove(seen.slot, der, certificate)
        if plan is Plan.VERIFY:
            self._journal.verdict(Told(Result.PASS_ALREADY.value, certificate_sha256=fingerprint(der)))
            return Identified(Result.PASS_ALREADY, certificate, der)
        result = Result.PASS if plan is Plan.PERSONALISE else Result.RESUMED
        self._record(seen.chip, certificate, der, result)
        return Identified(result, certificate, der)

    def _check_model(self, chip: ChipIdentity) -> None:
        wanted = self._station.recipe.chip_model
        if wanted is not None and chip.model != wanted:
            raise BoardFailed(
                f"the chip is a {chip.model}, the recipe wants {wanted}",
                hint="is this the right board for this recipe?",
                finding="line.chip-model",
            )

    def _saw(self, seen: Seen, spki: bytes) -> None:
        self._station.leases.saw(self._unit, seen.chip.serial, fingerprint(spki) if spki else "")

    def _step(self, step: Step) -> AbstractContextManager[None]:
        self._station.holds.check_running()
        self._station.leases.check(self._unit)
        return self._journal.step(step, self._chip)

    def _known(self, seen: Seen) -> Known:
        if not seen.certificate:
            return Known(None, born_here=False)
        sha256 = seen.certificate_sha256
        authority = self._station.authority
        by_ca = self._station.holds.call(self._unit, lambda: authority.certificate(sha256))
        return Known(by_ca, born_here=self._journal.has_birth(sha256))

    def _personalise(self, seen: Seen) -> x509.Certificate:
        """Take an EMPTY or KEYED chip to CERTIFIED, and return the certificate, as it also reads back."""
        statement_type = self._statement_type(seen.chip)
        seen = replace(seen, spki=self._usable_key(seen) or self._generate(seen, statement_type))
        certificate = self._certify(seen, statement_type)
        check_certificate(certificate, seen.spki, self._unit, self._station.rules, self._station.desk.clock())
        self._import(seen.slot, certificate.public_bytes(Encoding.DER))
        return certificate

    def _statement_type(self, chip: ChipIdentity) -> ObjectIdentifier:
        for model in self._station.rules.endorsements.models:
            if model.id == chip.model:
                return model.statement_types[0]
        raise BoardFailed(
            f"chip model {chip.model!r} is not endorsed", hint="see endorsements.toml", finding="evidence.model.unknown"
        )

    def _usable_key(self, seen: Seen) -> bytes:
        """Return the key that the slot holds if it is of the type that is wanted: an earlier run may have made it."""
        algorithm = algorithm_of(seen.spki) if seen.spki else None
        wanted = algorithm is not None and algorithm.value == self._station.key_type.value
        return seen.spki if wanted else b""

    def _generate(self, seen: Seen, statement_type: ObjectIdentifier) -> bytes:
        with self._step(Step.GENERATE):
            # Not before: until the chip is at work, a request would hold up boards that are still being looked at.
            self._nonce = self._station.background.submit(self._station.authority.nonce, statement_type, self._unit)
            spki = self._chip.generate_keypair(seen.slot, self._station.key_type)
            self._saw(seen, spki)
            return spki

    def _certify(self, seen: Seen, statement_type: ObjectIdentifier) -> x509.Certificate:
        """Return the CA's certificate for the key in the slot, attested with a nonce that the CA still takes."""
        nonce = self._fetched_nonce() or self._fresh_nonce(statement_type)
        for _ in range(FRESH_NONCES - 1):
            try:
                return self._enrol(seen, nonce)
            except AuthorityRefused as refused:
                if refused.finding not in _STALE:
                    raise
            nonce = self._fresh_nonce(statement_type)
        return self._enrol(seen, nonce)

    def _fetched_nonce(self) -> bytes | None:
        """Return the nonce that was fetched ahead, once; None when there is none, or the CA was away."""
        fetched, self._nonce = self._nonce, None
        with suppress(AuthorityAway):
            return None if fetched is None else fetched.result()
        return None

    def _fresh_nonce(self, statement_type: ObjectIdentifier) -> bytes:
        authority = self._station.authority
        return self._station.holds.call(self._unit, lambda: authority.nonce(statement_type, self._unit))

    def _enrol(self, seen: Seen, nonce: bytes) -> x509.Certificate:
        with self._step(Step.ATTEST):
            evidence = self._chip.attest(seen.slot, nonce)
        bundle = make_bundle(evidence.statement_type, evidence.statement, seen.chip.ak_certificates[:1])
        self._journal.check_room()
        with self._step(Step.ENROL):
            key = chip_key(self._chip, seen.slot, seen.spki)
            csr = build_csr(key, request_subject(self._unit), bundle)
            return self._station.holds.call(self._unit, lambda: self._station.authority.enrol(csr))

    def _import(self, slot: str, der: bytes) -> None:
        with self._step(Step.IMPORT):
            self._chip.import_certificate(slot, der)
            if self._chip.get_certificate(slot) != der:
                raise BoardFailed(
                    "the certificate reads back differently from what was written",
                    hint="run the board again; if it repeats, replace the chip",
                    finding="line.import.readback",
                )

    def _prove(self, slot: str, der: bytes, certificate: x509.Certificate) -> None:
        """Demand a signature over a fresh challenge, under the very certificate that the chip holds."""
        with self._step(Step.PROVE):
            message = possession_message(secrets.token_bytes(CHALLENGE_BYTES), der)
            signature = sign_data(chip_key(self._chip, slot, spki_of(certificate)), message)
            _check_possession(certificate, signature, message)

    def _record(self, chip: ChipIdentity, certificate: x509.Certificate, der: bytes, result: Result) -> None:
        """Sign the birth record and put it on disk: when this returns, PASS may be shown."""
        with self._step(Step.RECORD):
            birth = self._station.rig.sign(self._birth(chip, certificate, der, result))
            self._journal.commit_birth(birth, result)

    def _birth(self, chip: ChipIdentity, certificate: x509.Certificate, der: bytes, result: Result) -> BirthRecord:
        rig = self._station.rig
        return BirthRecord(
            unit_serial=self._unit,
            chip_model=chip.model,
            chip_serial=chip.serial,
            product=rig.product,
            order=rig.order,
            rig=rig.name,
            operator=rig.operator,
            position=self._position,
            certificate_serial=f"{certificate.serial_number:x}",
            certificate_sha256=fingerprint(der),
            key_sha256=fingerprint(spki_of(certificate)),
            evidence_sha256=evidence_digest(certificate),
            software=rig.software,
            recipe_sha256=self._station.recipe.sha256,
            started=self._started,
            finished=self._station.desk.now(),
            outcome="PASS" if result is Result.PASS else "RESUMED",
            step_ms=dict(self._journal.step_ms),
            run=self._station.desk.run,
            transaction=self._station.desk.teller.transaction,
            mes_hold=self._station.desk.teller.mes_hold,
            chip_firmware=chip.firmware,
            site=rig.where.site,
            line=rig.where.line,
            station=rig.where.station,
            fixture=rig.where.fixture,
        )


def _check_possession(certificate: x509.Certificate, signature: bytes, message: bytes) -> None:
    try:
        verify_data(verifying_key(certificate.public_key()), signature, message)
    except (InvalidSignature, AlgorithmRefused) as error:
        raise BoardFailed(
            "the chip did not prove that it holds the key of its certificate",
            hint="replace the chip",
            finding="line.possession",
        ) from error
