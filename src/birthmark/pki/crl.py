# SPDX-License-Identifier: Apache-2.0
"""
Certificate revocation lists (RFC 5280 §5): complete, direct, signed by the CA that issued the certificates.

A CA publishes its full list, and the same lines in parts: partition `index` of `count` has the certificates whose
serial modulo `count` is `index`, and says so in a critical issuingDistributionPoint (§5.2.5). The certificates name no
list (docs/reference/revocation.md says why): who checks one computes its partition from the serial.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID

from birthmark.core import der
from birthmark.core.errors import DecodeError
from birthmark.core.registry import CRL_FEED_POSITION
from birthmark.pki import extensions
from birthmark.pki.algorithms import SigningKey, VerifyingKey, acceptable_signature, signature_hash
from birthmark.pki.errors import AlgorithmRefused, RevocationError
from birthmark.pki.reading import UNREADABLE

CRL_MAX_BYTES = 16 * 1024 * 1024
"""Some 350 000 entries with a reason."""
PARTITIONS_MAX = 65_536
NUMBER_MAX_BITS = 159
"""A CRL number has at most 20 octets (RFC 5280 §5.2.3), the sign bit included."""

_UNDERSTOOD = frozenset(
    {
        ExtensionOID.CRL_NUMBER,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
        ExtensionOID.ISSUING_DISTRIBUTION_POINT,
        CRL_FEED_POSITION,
    }
)
_Extensions = Mapping[x509.ObjectIdentifier, x509.Extension[x509.ExtensionType]]


@dataclass(frozen=True, slots=True)
class Partition:
    """
    One part of a CA's lists, by its name: the URI `<base>/<count>/<index>`.

    The count is in the name, so lists of an earlier count can never be taken for those of the present one.

    Raises:
        RevocationError: `pki.crl.partition` for a count or an index out of range.

    """

    base: str
    count: int
    index: int

    def __post_init__(self) -> None:
        """Refuse what is no partition."""
        if not 1 <= self.count <= PARTITIONS_MAX or not 0 <= self.index < self.count:
            raise RevocationError(
                f"there is no partition {self.index} of {self.count}",
                hint=f"1 to {PARTITIONS_MAX} partitions, counted from 0",
                finding="pki.crl.partition",
            )

    @classmethod
    def of(cls, serial: int, base: str, count: int) -> "Partition":
        """Return the one partition whose list may name this serial."""
        return cls(base, count, serial % count if count > 0 else 0)

    @property
    def uri(self) -> str:
        """The name in the list, which is also where the list is fetched."""
        return f"{self.base}/{self.count}/{self.index}"

    def covers(self, serial: int) -> bool:
        """Say whether the list of this partition decides about a serial."""
        return serial % self.count == self.index

    def issuing_distribution_point(self) -> x509.IssuingDistributionPoint:
        """Return the extension that makes a list the list of this partition: its name, end entities only."""
        return x509.IssuingDistributionPoint(
            full_name=[x509.UniformResourceIdentifier(self.uri)],
            relative_name=None,
            only_contains_user_certs=True,
            only_contains_ca_certs=False,
            only_some_reasons=None,
            indirect_crl=False,
            only_contains_attribute_certs=False,
        )


@dataclass(frozen=True, slots=True)
class RevokedCertificate:
    """One line of a list. A reason that is unspecified is left out, as RFC 5280 §5.3.1 wants it."""

    serial: int
    revoked_at: datetime
    reason: x509.ReasonFlags = x509.ReasonFlags.unspecified


@dataclass(frozen=True, slots=True)
class Edition:
    """
    What tells one list of a CA from the others.

    `number` grows from each list of a partition to the next. `feed_position` says that every change up to this number
    of the CA's revocation feed had come into force and is in the list; a change that lies ahead holds it back. It is a
    non-critical extension under a project OID.
    """

    number: int
    partition: Partition | None = None
    """None for the full list."""
    feed_position: int | None = None

    @classmethod
    def at(cls, moment: datetime) -> "Edition":
        """Return an edition of the full list whose number is the time in milliseconds: it grows without being kept."""
        return cls(number_at(moment))


@dataclass(frozen=True, slots=True)
class RevocationList:
    """A list whose signature was verified. Good from `this_update` until `next_update`."""

    serials: frozenset[int]
    number: int
    this_update: datetime
    next_update: datetime
    partition: Partition | None = None
    feed_position: int | None = None

    def require_current(self, at: datetime) -> None:
        """Pass while the list is current. Raises RevocationError: `pki.crl.stale` or `pki.crl.not-yet-valid`."""
        if at >= self.next_update:
            raise RevocationError(f"the revocation list ended at {self.next_update}", finding="pki.crl.stale")
        if at < self.this_update:
            raise RevocationError(f"the revocation list begins {self.this_update}", finding="pki.crl.not-yet-valid")

    def require_follows(self, earlier: "RevocationList") -> None:
        """
        Pass when this list may take the place of an earlier one of the same issuer and partition.

        Raises:
            RevocationError: `pki.crl.rollback`: its number is lower, or the same with other contents.

        """
        if self.number < earlier.number or (self.number == earlier.number and self != earlier):
            raise RevocationError(
                f"list {self.number} cannot take the place of list {earlier.number}", finding="pki.crl.rollback"
            )


def number_at(moment: datetime) -> int:
    """Return the time in milliseconds since 1970: a number that grows from list to list."""
    return int(moment.timestamp() * 1000)


def build_crl(
    entries: Iterable[RevokedCertificate],
    issuer_key: SigningKey,
    issuer: x509.Certificate,
    at: datetime,
    next_update_s: int,
    edition: Edition | None = None,
) -> bytes:
    """
    Return the DER of a list; without an edition the full one, with the time as its number.

    Raises:
        RevocationError: `pki.crl.partition`: an entry belongs to another partition. What the key raises passes through.

    """
    edition = edition or Edition.at(at)
    # All lines at once: the builder copies what it has for each line that is added, which takes 10 s for 100 000.
    builder = (
        x509.CertificateRevocationListBuilder(revoked_certificates=_lines(entries, edition.partition))
        .issuer_name(issuer.subject)
        .last_update(at)
        .next_update(at + timedelta(seconds=next_update_s))
        .add_extension(x509.CRLNumber(edition.number), critical=False)
        .add_extension(extensions.authority_key_identifier(issuer), critical=False)
    )
    if edition.partition is not None:
        builder = builder.add_extension(edition.partition.issuing_distribution_point(), critical=True)
    if edition.feed_position is not None:
        position = x509.UnrecognizedExtension(CRL_FEED_POSITION, der.encode(edition.feed_position))
        builder = builder.add_extension(position, critical=False)
    return builder.sign(issuer_key, signature_hash(issuer_key.public_key())).public_bytes(Encoding.DER)


def read_crl(data: bytes, issuer: x509.Certificate, at: datetime, partition: Partition | None = None) -> RevocationList:
    """
    Return the list that was asked for: the full one, or the one of exactly this partition.

    Raises:
        RevocationError: `pki.crl.malformed`, `.issuer`, `.algorithm`, `.signature`, `.partition`, `.stale` or
            `.not-yet-valid`.

    """
    if len(data) > CRL_MAX_BYTES:
        raise RevocationError(f"{len(data)} bytes; at most {CRL_MAX_BYTES} make a revocation list")
    try:
        parsed = x509.load_der_x509_crl(data)
        _check_signed(parsed, issuer)
        revocations = _understood(parsed, partition)
    except (*UNREADABLE, DecodeError) as error:
        raise RevocationError(f"not a revocation list: {error}") from error
    revocations.require_current(at)
    return revocations


def _lines(entries: Iterable[RevokedCertificate], partition: Partition | None) -> list[x509.RevokedCertificate]:
    listed = list(entries)
    _check_covered((entry.serial for entry in listed), partition)
    return [_line(entry) for entry in listed]


def _line(entry: RevokedCertificate) -> x509.RevokedCertificate:
    builder = x509.RevokedCertificateBuilder().serial_number(entry.serial).revocation_date(entry.revoked_at)
    if entry.reason is not x509.ReasonFlags.unspecified:
        builder = builder.add_extension(x509.CRLReason(entry.reason), critical=False)
    return builder.build()


def _check_covered(serials: Iterable[int], partition: Partition | None) -> None:
    if partition is not None and not all(map(partition.covers, serials)):
        raise RevocationError(
            f"a line of the list {partition.uri} belongs to another partition", finding="pki.crl.partition"
        )


def _check_signed(parsed: x509.CertificateRevocationList, issuer: x509.Certificate) -> None:
    if parsed.issuer != issuer.subject:
        raise RevocationError("the revocation list is another CA's", finding="pki.crl.issuer")
    try:
        acceptable_signature(parsed)
    except AlgorithmRefused as error:
        raise RevocationError(f"the revocation list: {error.message}", finding="pki.crl.algorithm") from error
    key = issuer.public_key()
    if not isinstance(key, VerifyingKey) or not parsed.is_signature_valid(key):
        raise RevocationError("the revocation list is not signed by its issuer", finding="pki.crl.signature")


def _understood(parsed: x509.CertificateRevocationList, partition: Partition | None) -> RevocationList:
    """Refuse what would change the meaning: a delta, another part, an indirect list say so in critical extensions."""
    present: _Extensions = {extension.oid: extension for extension in parsed.extensions}
    if any(extension.critical and oid not in _UNDERSTOOD for oid, extension in present.items()):
        raise RevocationError("the revocation list has a critical extension that is not understood")
    _check_scope(present, partition)
    number = present.get(ExtensionOID.CRL_NUMBER)
    if number is None or not isinstance(number.value, x509.CRLNumber) or parsed.next_update_utc is None:
        raise RevocationError("the revocation list has no number or no next update")
    if number.value.crl_number.bit_length() > NUMBER_MAX_BITS:
        raise RevocationError("the revocation list has a number of more than 20 octets")
    serials = frozenset(_serial(line) for line in parsed)
    _check_covered(serials, partition)
    return RevocationList(
        serials,
        number.value.crl_number,
        parsed.last_update_utc,
        parsed.next_update_utc,
        partition,
        _feed_position(present),
    )


def _check_scope(present: _Extensions, partition: Partition | None) -> None:
    """Refuse one partition in place of another, and the full list in place of a partition or the other way round."""
    found = present.get(ExtensionOID.ISSUING_DISTRIBUTION_POINT)
    if found is None and partition is None:
        return
    wanted = None if partition is None else partition.issuing_distribution_point()
    if found is None or not found.critical or found.value != wanted:
        asked = "the full list" if partition is None else partition.uri
        raise RevocationError(f"the revocation list is not {asked}", finding="pki.crl.partition")


def _feed_position(present: _Extensions) -> int | None:
    found = present.get(CRL_FEED_POSITION)
    if found is None:
        return None
    position = der.decode(int, found.value.public_bytes(), "the feed position")
    if position < 0:
        raise RevocationError("the revocation list has a negative feed position")
    return position


def _serial(line: x509.RevokedCertificate) -> int:
    if any(extension.critical for extension in line.extensions):
        raise RevocationError("a line of the revocation list has a critical extension")
    return line.serial_number
