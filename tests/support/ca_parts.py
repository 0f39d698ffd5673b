# SPDX-License-Identifier: Apache-2.0
"""An issuing authority around a forge: two rigs, orders, a clock that tests move, and boards that ask properly."""

import secrets
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from birthmark.ca.admin.administration import Administration
from birthmark.ca.anchors import Lineage
from birthmark.ca.demands import Client, Terms
from birthmark.ca.issuing.attributes import AttributeDesk
from birthmark.ca.issuing.signers import Signers
from birthmark.ca.policy import Policy
from birthmark.ca.ports import CAStore, Ledger, LedgerReader
from birthmark.ca.service import CA
from birthmark.ca.status.desk import SigningDesk, StatusIssuer, StatusTerms
from birthmark.ca.status.publishing import SigningBudget
from birthmark.core.birth import BirthRecord, sign_birth
from birthmark.core.errors import StoreError
from birthmark.core.ids import fingerprint
from birthmark.core.issuance import Order, UnitRange
from birthmark.est.messages import NonceRequest
from birthmark.evidence.ear import stated_evidence
from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.pki.authorities import Authority, make_rig, make_sub_ca
from birthmark.pki.cmw import Record, read_cmw_record
from birthmark.pki.csr import build_csr
from birthmark.pki.names import request_subject
from birthmark.pki.paths import TrustAnchors
from birthmark.pki.profiles import AlgorithmPolicy
from birthmark.stores.ca_sqlite import SQLiteCAStore
from birthmark.testing.forge import APDU, ORGANIZATION, PRODUCT, Chip, Forge, Model, new_key, spki
from birthmark.testing.orders import put_signed_order

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
UNIT = "BM-000001"
ORDER = "order-1"
AUTHORITY = "example.com/test-ca"
LAST_ISSUE = date(2035, 12, 31)


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **span: float) -> None:
        self.now += timedelta(**span)


def order(name: str = ORDER, **changes: object) -> Order:
    """Return an order for both rigs that is good at NOW, with some of its fields changed."""
    fields: dict[str, object] = {
        "id": name,
        "product": PRODUCT,
        "quantity": 100,
        "chip_models": ("optiga-trust-m", "swtpm"),
        "rigs": ("rig-a", "rig-b"),
        "units": UnitRange("BM-000000", "BM-999999"),
        "approved_at": NOW - timedelta(days=1),
        "not_before": NOW - timedelta(days=1),
        "not_after": NOW + timedelta(days=30),
        "profile": "device-p256",
    }
    return Order(**(fields | changes))  # type: ignore[arg-type] # tests name the fields that they change


@dataclass
class Board:
    """A board at the line: a unit, its chip, and the key that the chip has made."""

    unit: str
    chip: Chip
    key: ec.EllipticCurvePrivateKey = field(default_factory=new_key)

    def csr(self, nonce: bytes) -> bytes:
        bundle = self.chip.bundle(self.chip.attest(self.key.public_key(), nonce))
        return build_csr(self.key, request_subject(self.unit), bundle)

    def renewal_csr(self, key: ec.EllipticCurvePrivateKey, nonce: bytes, current: x509.Certificate) -> bytes:
        bundle = self.chip.bundle(self.chip.attest(key.public_key(), nonce))
        san = current.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return build_csr(key, current.subject, bundle, san)


class CAParts:
    """One issuing authority, with everything around it at hand."""

    def __init__(self, store: CAStore | None = None) -> None:
        self.clock = Clock()
        self.forge = Forge.at(NOW)
        self.operations = make_sub_ca(self.forge.root, f"{ORGANIZATION} operations CA", new_key(), NOW)
        self.rig_keys = {rig: new_key() for rig in ("rig-a", "rig-b", "rig-z")}
        self.rigs: dict[str, x509.Certificate] = {}
        self.certify_rigs()
        self.store = store or SQLiteCAStore()
        self.policy = self._policy()
        self.ca = self.service(self.store)
        self.attributes = AttributeDesk(self.store, self.policy, self.clock)
        self.desk = self.status()
        self.administration = Administration(self.store, AUTHORITY, self.clock)
        self.put_order(order())

    def put_order(self, wanted: Order) -> None:
        """Put an order that two persons have signed into the ledger."""
        put_signed_order(self.store, self.operations, wanted, self.clock(), AUTHORITY)

    def close_order(self, order_id: str) -> None:
        with self.store.writing() as ledger:
            known = ledger.order(order_id)
            assert known is not None
            ledger.put_order(replace(known, closed_at=self.clock()))

    def certify_rigs(self) -> None:
        """Give each rig a certificate of this moment."""
        at = self.clock()
        self.rigs = {rig: make_rig(self.operations, rig, key.public_key(), at) for rig, key in self.rig_keys.items()}

    def service(self, store: CAStore, authority: Authority | None = None) -> CA:
        """Return another worker of the same authority."""
        return CA(store, Signers(authority or self.forge.issuing), self.policy, self.clock)

    def status(self, signers: Signers | None = None) -> SigningDesk:
        """Return a desk that publishes what is revoked, for each issuer."""
        named = signers or Signers(self.forge.issuing)
        terms = StatusTerms(
            partitions=0,
            list_life=timedelta(hours=1),
            response_life=timedelta(hours=8),
            budget=SigningBudget.full(1, 1, self.clock()),
        )
        issuers = {
            name: StatusIssuer(authority=authority, marks=named.issued_by(name), list_name=f"crl:{name}")
            for name, authority in named.all().items()
        }
        return SigningDesk(self.store, issuers, terms, self.policy.trust, self.clock)

    def lineage(self) -> Lineage:
        return Lineage((self.forge.issuing.certificate,), self.policy.ca_chain)

    def crl(self) -> bytes:
        """Return the first issuer's list (DER)."""
        return self.desk.full_list().body

    def client(self, rig: str = "rig-a") -> Client:
        return Client(self.rigs[rig], (self.operations.certificate, self.forge.root.certificate))

    def device(self, certificate: x509.Certificate) -> Client:
        return Client(certificate, (self.forge.issuing.certificate, self.forge.root.certificate))

    def board(self, unit: str = UNIT, model: Model = APDU) -> Board:
        return Board(unit, self.forge.maker.chip(model))

    def nonce(self, unit: str = UNIT, rig: str = "rig-a", label: str = ORDER) -> bytes:
        return self.ca.grant_nonce(self.client(rig), label, NonceRequest(unit=unit)).nonce

    def enrol(self, csr: bytes, rig: str = "rig-a", label: str = ORDER) -> x509.Certificate:
        return x509.load_der_x509_certificate(self.ca.enrol(self.client(rig), label, csr))

    def born(self, board: Board, rig: str = "rig-a", label: str = ORDER) -> x509.Certificate:
        """Enrol the board with a fresh nonce."""
        return self.enrol(board.csr(self.nonce(board.unit, rig, label)), rig, label)

    def confirmed(self, board: Board) -> x509.Certificate:
        """Enrol the board and confirm its birth."""
        certificate = self.born(board)
        self.ca.take_birth(self.client(), self.birth(board, certificate))
        return certificate

    def birth(self, board: Board, certificate: x509.Certificate, rig: str = "rig-a", **changes: object) -> bytes:
        """Return the birth record of a board, signed by the rig, with some of its fields changed."""
        record = birth_record(board, certificate, rig=rig, **changes)
        return sign_birth(record, self.rig_keys[rig], self.rigs[rig]).encode()

    def issuance(self, certificate: x509.Certificate) -> dict[str, str]:
        """Return the administrator's row of a certificate."""
        sha256 = fingerprint(certificate.public_bytes(Encoding.DER))
        return next(row for row in self.administration.certificates() if row["certificate_sha256"] == sha256)

    def states(self) -> list[str]:
        """Return the state of each issuance, oldest first."""
        return [row["state"] for row in self.administration.certificates()]

    def living(self) -> list[dict[str, str]]:
        alive = {"intended", "issued", "confirmed"}
        return [row for row in self.administration.certificates() if row["state"] in alive]

    def units_taken(self, label: str = ORDER) -> int:
        with self.store.reading() as ledger:
            return ledger.order_use(label, "").units

    def last_audit(self) -> dict[str, str]:
        return list(self.administration.audit())[-1]

    def _policy(self) -> Policy:
        p256 = (AlgorithmPolicy(KeyAlgorithm.P256, LAST_ISSUE),)
        retired = (AlgorithmPolicy(KeyAlgorithm.P256, date(2020, 12, 31)),)
        p384 = (AlgorithmPolicy(KeyAlgorithm.P384, LAST_ISSUE),)
        profiles = (
            Terms("device-p256", p256, 1825),
            Terms("device-p384", p384, 1825),
            Terms("device-2016", retired, 3650),
        )
        return Policy(
            trust=TrustAnchors(
                (self.forge.root.certificate,), (self.operations.certificate, self.forge.issuing.certificate)
            ),
            endorsements=self.forge.endorsements(),
            terms={terms.name: terms for terms in profiles},
            organization=ORGANIZATION,
            authority=AUTHORITY,
            ca_chain=(self.forge.issuing.certificate, self.forge.root.certificate),
            nonce_expiry=timedelta(seconds=60),
            nonces_per_rig=1_000,
            birth_grace=timedelta(days=1),
            rotation_overlap=timedelta(days=7),
        )


def birth_record(board: Board, certificate: x509.Certificate, **changes: object) -> BirthRecord:
    """Return the birth record of a board, with some of its fields changed."""
    record, value = read_cmw_record(certificate)
    fields: dict[str, object] = {
        "unit_serial": board.unit,
        "chip_model": board.chip.model.id,
        "chip_serial": board.chip.serial,
        "product": PRODUCT,
        "order": ORDER,
        "rig": "rig-a",
        "operator": "ada",
        "position": 1,
        "certificate_serial": f"{certificate.serial_number:x}",
        "certificate_sha256": fingerprint(certificate.public_bytes(Encoding.DER)),
        "key_sha256": fingerprint(spki(board.key.public_key())),
        "evidence_sha256": stated_evidence(value) if record is Record.RESULT else fingerprint(value),
        "software": "birthmark 0",
        "started": NOW.isoformat(),
        "finished": NOW.isoformat(),
        "outcome": "PASS",
        "step_ms": {"generate": 61.5},
    }
    return BirthRecord(**(fields | changes))  # type: ignore[arg-type] # tests name the fields that they change


def a_nonce() -> bytes:
    """Return a nonce that nobody has given out."""
    return secrets.token_bytes(32)


def nonce_for(parts: CAParts, current: x509.Certificate) -> bytes:
    """Return a nonce that the device with this certificate asked for."""
    return parts.ca.grant_nonce(parts.device(current), None, NonceRequest()).nonce


def renewed(
    parts: CAParts, board: Board, current: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    """Return the device's certificate for its next key."""
    csr = board.renewal_csr(key, nonce_for(parts, current), current)
    return x509.load_der_x509_certificate(parts.ca.renew(parts.device(current), csr))


class Crash(BaseException):
    """The process ends here: nothing above catches it."""


NOT_DONE = "not done"
DONE = "done"


class FaultyStore:
    """
    A store whose writing transactions fail as told: one word per transaction, None for success.

    "not done" crashes before the commit, "done" after it; an exception is raised before the commit in their place.
    """

    def __init__(self, store: CAStore, faults: Iterable[str | StoreError | None]) -> None:
        self._store = store
        self._faults = iter(faults)

    def reading(self) -> AbstractContextManager[LedgerReader]:
        return self._store.reading()

    @contextmanager
    def writing(self) -> Iterator[Ledger]:
        fault = next(self._faults, None)
        with self._store.writing() as ledger:
            yield ledger
            if isinstance(fault, StoreError):
                raise fault
            if fault == NOT_DONE:
                raise Crash
        if fault == DONE:
            raise Crash

    def close(self) -> None:
        self._store.close()
