# SPDX-License-Identifier: Apache-2.0
"""What an auditor judges by: the entries and objects of one bundle, read and filed, and what they were given beside."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from cryptography import x509

from birthmark.ca.transparency import bundle_format as bundle
from birthmark.ca.transparency.bundle_format import AuditObject, Manifest
from birthmark.ca.transparency.trust_log import read_trust_document
from birthmark.core.audit import BELIEVED_ACTS, TRUST_ACT, AuditRow, unit_thread
from birthmark.core.errors import DecodeError
from birthmark.pki.errors import PathError
from birthmark.pki.paths import TrustAnchors
from birthmark.pki.reading import UNREADABLE

ISSUING = frozenset({"enrol", "renew"})
PROPOSE, BIRTH = "propose", "birth"
RULINGS: Mapping[str, str] = {"approve": "approved", "reject": "rejected"}


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the log: its number, its bytes, and the decision that they stand for."""

    number: int
    data: bytes
    row: AuditRow


@dataclass(frozen=True, slots=True)
class Given:
    """
    What the auditor has from elsewhere than the bundle. Where something is None, the log's own word is taken.

    `trust` is the customer's root; `chip_roots` the SHA-256 of the keys (SubjectPublicKeyInfo) of the chip makers'.
    """

    trust: TrustAnchors | None = None
    chip_roots: frozenset[str] | None = None


@dataclass(frozen=True)
class Case:
    """One bundle, read. Nothing in it is believed before it was checked."""

    manifest: Manifest
    entries: tuple[Entry, ...]
    given: Given
    authority: str
    """The origin of the log, which is the name of the CA: whom the documents must be for that persons have signed."""
    _trusts: dict[str, TrustAnchors] = field(default_factory=dict, repr=False)

    # --- entries ---

    @property
    def unit_thread(self) -> str:
        """Return the name of the unit's thread."""
        return unit_thread(self.manifest.unit_serial)

    @cached_property
    def threads(self) -> dict[str, list[Entry]]:
        """The entries by thread; those of none under ""."""
        found: dict[str, list[Entry]] = {self.unit_thread: []}
        for entry in self.entries:
            found.setdefault(entry.row.thread, []).append(entry)
        return found

    @cached_property
    def granted(self) -> tuple[Entry, ...]:
        """What was granted to or said of the unit, and decided about its orders."""
        threads = [entries for name, entries in self.threads.items() if name not in ("", *BELIEVED_ACTS)]
        return tuple(sorted((each for entries in threads for each in entries if not each.row.finding), key=_number))

    @cached_property
    def issued(self) -> tuple[Entry, ...]:
        """Each certificate that was issued to the unit."""
        return tuple(each for each in self.granted if each.row.act in ISSUING and each.row.about)

    def acts(self, *acts: str) -> Iterator[Entry]:
        """Yield what was granted of these acts."""
        return (each for each in self.granted if each.row.act in acts)

    def in_force(self, act: str, number: int) -> Entry | None:
        """Return the last entry of this act before an entry's number: the policy, or the anchors, of then."""
        before = [each for each in self.threads.get(act, ()) if each.number < number]
        return before[-1] if before else None

    @property
    def first_needed(self) -> int:
        """Return the number of the first entry for which somebody asks what was believed."""
        return min((each.number for each in self.granted), default=self.entries[0].number if self.entries else 0)

    # --- objects ---

    @cached_property
    def _filed(self) -> dict[tuple[str, str], AuditObject]:
        return {(each.kind, each.sha256): each for each in self.manifest.objects}

    def held(self, kind: str) -> Iterator[AuditObject]:
        """Yield the objects of a kind."""
        return (each for each in self.manifest.objects if each.kind == kind)

    def found(self, kind: str, sha256: str) -> AuditObject | None:
        """Return the object of a kind with this digest, or None."""
        return self._filed.get((kind, sha256))

    def content(self, kind: str, sha256: str) -> bytes | None:
        """Return the content of such an object, or None."""
        each = self.found(kind, sha256)
        return None if each is None else each.content

    def certificate(self, kind: str, sha256: str) -> x509.Certificate | None:
        """Return such an object as a certificate; None where it is not there or cannot be read."""
        content = self.content(kind, sha256)
        return None if content is None else read_certificate(content)

    @cached_property
    def authorities(self) -> tuple[x509.Certificate, ...]:
        """The certificates of CAs that can be read."""
        return tuple(filter(None, (read_certificate(each.content) for each in self.held(bundle.AUTHORITY))))

    # --- trust ---

    def trust_at(self, number: int) -> TrustAnchors | None:
        """
        Return what persons, rigs and devices were judged by when an entry was written; None when nobody can say.

        The anchors are those that the auditor has, or else those that the log says were believed. Denied keys are the
        log's in both cases. What was written before the log said so at all is judged by the first that it says.
        """
        entry = self.in_force(TRUST_ACT, number) or next(iter(self.threads.get(TRUST_ACT, ())), None)
        if entry is None:
            return None
        if entry.row.about not in self._trusts:
            try:
                self._trusts[entry.row.about] = self._trust(entry.row.about)
            except (DecodeError, PathError, KeyError):
                return None
        return self._trusts[entry.row.about]

    def _trust(self, digest: str) -> TrustAnchors:
        document = read_trust_document(self._filed[bundle.TRUST, digest].content)
        named = {
            each: self.certificate(bundle.AUTHORITY, each) for each in (*document.anchors, *document.intermediates)
        }
        denied = frozenset(document.denied_keys)
        if self.given.trust is not None:
            below = tuple(each for each in self.authorities if each not in self.given.trust.certs)
            return TrustAnchors(self.given.trust.certs, below, denied)
        anchors, below = (
            tuple(found for each in digests if (found := named[each]) is not None)
            for digests in (document.anchors, document.intermediates)
        )
        return TrustAnchors(anchors, below, denied)


def read_certificate(content: bytes) -> x509.Certificate | None:
    """Return a certificate (DER), or None where it cannot be read."""
    try:
        certificate = x509.load_der_x509_certificate(content)
        # pyca reads these when they are first asked for.
        _ = (certificate.issuer, certificate.subject, certificate.extensions, certificate.public_key())
    except UNREADABLE:
        return None
    return certificate


def moment(at: datetime) -> str:
    """Return a moment as people read it, in UTC."""
    return f"{at:%Y-%m-%d %H:%M:%S}"


def shortened(digest: str) -> str:
    """Return the front of a digest, enough to tell two apart."""
    return digest[:16]


def _number(entry: Entry) -> int:
    return entry.number


def last(entries: Sequence[Entry]) -> Entry | None:
    """Return the last entry, or None."""
    return entries[-1] if entries else None
