# SPDX-License-Identifier: Apache-2.0
"""
Takes the steps that the rotation's state machine (rotation.py) names, with chip, CA and cloud.

Each run begins with what the chip holds now, so any step may be the last one before the power goes.
"""

from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from birthmark.core.clock import Clock
from birthmark.core.errors import DecodeError
from birthmark.core.ids import fingerprint
from birthmark.device.acceptance import Standards, check_successor
from birthmark.device.errors import CertificateRejected, RefusedByCloud
from birthmark.device.identities import active_identity, candidate, key_type_of, observe, other_slot
from birthmark.device.ports import AuthorityLink, Identity, Links, Me, WireBytes
from birthmark.device.requests import make_evidence, make_renewal_csr
from birthmark.device.rotation import Goal, Progress, Step, next_step
from birthmark.evidence.ear import stated_evidence
from birthmark.pki.cmw import Record, read_cmw_record
from birthmark.silicon.errors import ChipError
from birthmark.silicon.port import Algorithm, SecureElement


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    The identity in use before and after a run, and what the run carried on the connection to the CA.

    `beside` is the one that is kept beside it, since its key opens no TLS session.
    """

    before: Identity
    identity: Identity
    wire: WireBytes
    beside: Identity | None = None


class Renewal:
    """One chip's way from the identity in use to the next. Made for one unit."""

    def __init__(self, chip: SecureElement, unit: str, links: Links, standards: Standards, clock: Clock) -> None:
        self._chip = chip
        self._unit = unit
        self._links = links
        self._standards = standards
        self._clock = clock
        self._wire = WireBytes(0, 0)
        self._open: AuthorityLink | None = None

    def run(self, goal: Goal) -> Outcome:
        """
        Take steps until none is left.

        Raises:
            NoIdentity: there is nothing to renew.
            ChipError, NetError, ESTError, DeviceError, AppraisalRefused: the step that failed; the identity in use
                is as it was, and the next run begins with what this one has left.

        """
        before = current = active_identity(self._chip, self._unit)
        progress = Progress(goal)
        try:
            while (step := next_step(observe(self._chip, current, self._standards), progress)) is not Step.DONE:
                progress = self._take(step, current, progress)
                if step is Step.ACTIVATE:
                    current = active_identity(self._chip, self._unit)
        finally:
            self._leave_authority()
        return Outcome(before, current, self._wire, candidate(self._chip, current, self._standards))

    def name_anchors(self) -> None:
        """
        Tell the CA which trust anchors we hold, with the identity in use.

        Raises:
            NetError, ESTError, ChipError: it was not told.

        """
        link = self._links.authority(active_identity(self._chip, self._unit))
        try:
            link.name_anchors(frozenset(each.fingerprint(SHA256()).hex() for each in self._standards.trust.certs))
        finally:
            link.close()

    def _take(self, step: Step, current: Identity, progress: Progress) -> Progress:
        """Take one step and return what is known after it."""
        other = other_slot(current.slot)
        after = progress
        match step:
            case Step.ERASE:
                if progress.goal is Goal.ROTATE and not progress.switched:
                    # The CA is needed next: what is there is not given up while it is away.
                    self._wanted_key(current)
                self._chip.erase(other)
                after = progress.erased()
            case Step.GENERATE:
                self._chip.generate_keypair(other, self._wanted_key(current))
                after = progress.generated()
            case Step.ENROL:
                after = progress.enrolled(self._enrol(other, current))
            case Step.IMPORT if progress.certificate is not None:
                self._import(other, progress.certificate)
            case Step.PROBE:
                after = self._probe(current, progress)
            case Step.ACTIVATE:
                self._chip.activate(other)
                after = progress.activated()
        return after

    def _authority(self, current: Identity) -> AuthorityLink:
        """Return the connection to the CA: one for the run, made when it is first needed."""
        if self._open is None:
            self._open = self._links.authority(current)
        return self._open

    def _leave_authority(self) -> None:
        if self._open is not None:
            self._wire = self._open.wire_bytes()
            self._open.close()
            self._open = None

    def _wanted_key(self, current: Identity) -> Algorithm:
        """Return the type of the next key: what the CA wants, else what the one in use has."""
        return self._authority(current).key_type() or Algorithm(key_type_of(current).value)

    def _enrol(self, slot: str, identity: Identity) -> bytes:
        """Return the CA's certificate for the key in the slot, checked."""
        authority, current = self._authority(identity), identity.certificate
        bundle = make_evidence(self._chip, slot, authority.nonce())
        certificate = authority.renew(make_renewal_csr(self._chip, slot, current, bundle))
        check_successor(certificate, current, self._chip.public_key(slot), self._standards, self._clock())
        _check_carried(certificate, bundle)
        return certificate.public_bytes(Encoding.DER)

    def _import(self, slot: str, certificate: bytes) -> None:
        self._chip.import_certificate(slot, certificate)
        if self._chip.get_certificate(slot) != certificate:
            raise ChipError(f"slot {slot} does not give back the certificate written", finding="chip.read-back")

    def _probe(self, current: Identity, progress: Progress) -> Progress:
        """Ask the cloud about the successor, over a new connection with its key."""
        successor = candidate(self._chip, current, self._standards)
        if successor is None:
            return progress.refused()
        try:
            self._require_accepted(self._me(successor))
        except RefusedByCloud:
            if progress.key_made:
                raise
            # What an earlier run has left is given up only when the identity in use is known to work.
            self._me(current)
            return progress.refused()
        return progress.probed()

    def _me(self, identity: Identity) -> Me:
        link = self._links.cloud(identity)
        try:
            return link.me()
        finally:
            link.close()

    def _require_accepted(self, me: Me) -> None:
        if me.unit != self._unit:
            raise RefusedByCloud(f"the cloud takes us for {me.unit!r}", finding="device.unit-mismatch")


def _check_carried(certificate: x509.Certificate, bundle: bytes) -> None:
    """Demand that the certificate carries the evidence that we sent, byte for byte, or a result about it."""
    try:
        record, value = read_cmw_record(certificate)
        about = stated_evidence(value) if record is Record.RESULT else fingerprint(value)
    except DecodeError as error:
        raise CertificateRejected(error.message, finding="device.certificate.evidence") from error
    if about != fingerprint(bundle):
        raise CertificateRejected("the certificate carries other evidence", finding="device.certificate.evidence")
