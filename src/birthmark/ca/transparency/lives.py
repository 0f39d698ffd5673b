# SPDX-License-Identifier: Apache-2.0
"""Issuances held against the log one by one: what was issued, born, decided and held, and what has become of it."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from birthmark.ca.ports import LedgerReader
from birthmark.ca.transparency.discrepancy import PAGE, Discrepancy, shown
from birthmark.core import jws
from birthmark.core.audit import AuditRow, decode_row
from birthmark.core.dossier import Dossier
from birthmark.core.errors import DecodeError
from birthmark.core.ids import fingerprint
from birthmark.core.issuance import Ending
from birthmark.core.ledger_rows import RowValues, Value, issuance_digest, issuance_name, maybe_us, us

ISSUING_ACTS: Final = frozenset({"enrol", "renew"})
BIRTH_ACT: Final = "birth"
_DAY_US: Final = 86_400_000_000

_End: TypeAlias = tuple[Value, Value]
"""When a certificate counts as revoked from, and why."""


def check_lives(ledger: LedgerReader) -> Iterator[Discrepancy]:
    """Yield every discrepancy about issuances. Raises StoreError."""
    last = 0
    while dossiers := ledger.dossiers(last, PAGE):
        for dossier in dossiers:
            if dossier.number != last + 1:
                told = f"issuances {last + 1} to {dossier.number - 1} are missing"
                yield Discrepancy("ledger.issuance.gap", str(last + 1), told)
            last = dossier.number
            yield from check_dossier(dossier)
        yield from _check_signers(ledger, dossiers)


def check_dossier(dossier: Dossier) -> Iterator[Discrepancy]:
    """Yield every discrepancy about one issuance. Pure."""
    rows = _about(dossier)
    issued = [row for row in rows if row.act in ISSUING_ACTS and row.about]
    yield from _check_certificate(dossier, issued)
    yield from _check_birth(dossier, rows)
    if dossier.life is None:
        yield Discrepancy("ledger.life.missing", _serial(dossier), "nothing is known of what becomes of it")
    else:
        yield from _check_issuance(dossier, dossier.life, issued)
        yield from _check_fate(dossier, dossier.life, rows)
    if not dossier.holds_place:
        unit, order = shown(dossier.issuance["unit_serial"]), shown(dossier.issuance["order_id"])
        told = f"unit {unit} does not count towards order {order}"
        yield Discrepancy("ledger.quota.place", _serial(dossier), told)


def _serial(dossier: Dossier) -> str:
    return str(dossier.issuance["serial"])


def _about(dossier: Dossier) -> list[AuditRow]:
    """Return what was granted about this certificate. Entries that cannot be read are told of elsewhere."""
    rows = []
    for leaf in dossier.leaves:
        with suppress(DecodeError):
            row = decode_row(leaf.entry)
            if row.certificate == dossier.issuance["serial"] and not row.finding:
                rows.append(row)
    return rows


# --- what was issued, and what was born ------------------------------------------------------------------------


def _check_certificate(dossier: Dossier, issued: Sequence[AuditRow]) -> Iterator[Discrepancy]:
    serial, certificate = _serial(dossier), dossier.certificate
    if certificate is None:
        if issued:
            yield Discrepancy("ledger.certificate.missing", serial, "the log says that it was issued")
        return
    der = certificate["der"]
    digest = fingerprint(der) if isinstance(der, bytes) else ""
    if certificate["sha256"] != digest:
        told = f"it is filed under {shown(certificate['sha256'])}, its digest is {digest}"
        yield Discrepancy("ledger.certificate.filed", serial, told)
    yield from _check_logged("ledger.certificate", serial, digest, [row.about for row in issued])


def _check_issuance(dossier: Dossier, life: RowValues, issued: Sequence[AuditRow]) -> Iterator[Discrepancy]:
    """What was intended is said by the entry of the certificate; of an intent that was cut short, by none."""
    serial, issuance = _serial(dossier), dossier.issuance
    intended, days = issuance["intended_us"], issuance["validity_days"]
    expires = intended + days * _DAY_US if isinstance(intended, int) and isinstance(days, int) else None
    copied = (issuance["unit_serial"], issuance["chip"], expires)
    if (life["unit_serial"], life["chip"], life["expires_us"]) != copied:
        yield Discrepancy("ledger.life.altered", serial, "unit, chip or expiry are not those of its issuance")
    for row in issued[:1]:
        if row.state.get(issuance_name(serial)) != issuance_digest(issuance, life["issuer"], life["beside"]):
            yield Discrepancy("ledger.issuance.altered", serial, "what was intended is not what the log says")


def _check_birth(dossier: Dossier, rows: Sequence[AuditRow]) -> Iterator[Discrepancy]:
    serial, birth = _serial(dossier), dossier.birth
    logged = [row for row in rows if row.act == BIRTH_ACT]
    if birth is None:
        if logged:
            yield Discrepancy("ledger.birth.missing", serial, "the log says that its birth was confirmed")
        return
    digest = fingerprint(str(birth["jws"]).encode())
    yield from _check_logged("ledger.birth", serial, digest, [row.about for row in logged])
    if logged and birth["received_us"] != us(logged[0].at):
        yield Discrepancy("ledger.birth.received", serial, f"the log says that it came {logged[0].at.isoformat()}")


def _check_logged(what: str, serial: str, digest: str, logged: Sequence[str]) -> Iterator[Discrepancy]:
    if not logged:
        yield Discrepancy(f"{what}.unlogged", serial, "the log has no entry for it")
    elif len(logged) > 1:
        yield Discrepancy(f"{what}.repeated", serial, f"the log has {len(logged)} entries for it")
    elif logged[0] != digest:
        yield Discrepancy(f"{what}.digest", serial, f"its digest is {digest}, the log says {logged[0]}")


def _check_signers(ledger: LedgerReader, dossiers: Sequence[Dossier]) -> Iterator[Discrepancy]:
    """Whoever verifies a birth record in ten years needs the certificate of the rig that signed it."""
    wanted: dict[str, str] = {}
    for dossier in dossiers:
        if dossier.birth is not None:
            with suppress(DecodeError):
                wanted.setdefault(jws.signer_sha256(jws.read(str(dossier.birth["jws"]))), _serial(dossier))
    known = ledger.known_documents(list(wanted)) if wanted else frozenset[str]()
    for digest, serial in wanted.items():
        if digest not in known:
            told = f"the certificate of the rig that signed the birth record of {serial} is not kept"
            yield Discrepancy("ledger.document.missing", digest, told)


# --- what has become of it -------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Fate:
    """What becomes of a certificate by what was decided. `end` is None as long as no entry says it."""

    confirmed: int | None = None
    end: _End | None = None
    held: _End | None = None
    decisions: list[_End] = field(default_factory=list)

    def follow(self, row: AuditRow, intended: Value) -> None:
        """Go on with the next entry about the certificate."""
        said = maybe_us(row.dies), row.ending or None
        if row.act in ISSUING_ACTS:
            if row.about:
                # A renewal counts as confirmed from its intent on; everything else is confirmed by a birth record.
                self.confirmed = None if row.ending else intended if isinstance(intended, int) else None
                self.end = said
        elif row.act == BIRTH_ACT:
            self.confirmed, self.end = us(row.at), (None, None)
        elif row.ending:
            self._decide(said, row.ending)

    def _decide(self, said: _End, ending: str) -> None:
        self.decisions.append(said)
        if ending == Ending.HELD.value:
            self.held = self.end
        if ending != Ending.RELEASED.value:
            self.end = said
            return
        # What held before holds again; where that was an end, followers are told once more.
        self.end, self.held = self.held or (None, None), None
        if self.end[0] is not None:
            self.decisions.append(self.end)


def _check_fate(dossier: Dossier, life: RowValues, rows: Sequence[AuditRow]) -> Iterator[Discrepancy]:
    serial, fate = _serial(dossier), _Fate()
    for row in rows:
        fate.follow(row, dossier.issuance["intended_us"])
    yield from _check_decisions(serial, dossier, fate)
    if fate.end is None:
        # An intent that was cut short: until it is signed or ends, no entry is about it.
        yield from _check_intent(serial, dossier, life)
        return
    if (life["dies_us"], life["ending"]) != fate.end:
        told = f"it dies {shown(life['dies_us'])} ({shown(life['ending'])}), which is not what was decided last"
        yield Discrepancy("ledger.ending.life", serial, told)
    if dossier.certificate is not None and life["confirmed_us"] != fate.confirmed:
        told = f"it counts as confirmed {shown(life['confirmed_us'])}, by the log {fate.confirmed}"
        yield Discrepancy("ledger.birth.state", serial, told)
    if dossier.certificate is not None:  # of an intent nobody knows what it was before a hold
        yield from _check_hold(serial, dossier, fate)


def _check_decisions(serial: str, dossier: Dossier, fate: _Fate) -> Iterator[Discrepancy]:
    written = [(end["dies_us"], end["ending"]) for end in dossier.ends]
    told = f"{len(written)} decisions about its end in the tables, {len(fate.decisions)} in the log"
    if len(written) > len(fate.decisions):
        yield Discrepancy("ledger.ending.unlogged", serial, told)
    elif len(written) < len(fate.decisions):
        yield Discrepancy("ledger.ending.missing", serial, told)
    elif written != fate.decisions:
        yield Discrepancy("ledger.ending.altered", serial, "the decisions about its end are not those of the log")


def _check_intent(serial: str, dossier: Dossier, life: RowValues) -> Iterator[Discrepancy]:
    waiting = life["confirmed_us"] is None and life["ending"] == Ending.UNCONFIRMED.value
    renewal = life["confirmed_us"] == dossier.issuance["intended_us"] and life["ending"] is None
    if not waiting and not renewal:
        told = f"nothing was issued or decided, and it dies {shown(life['dies_us'])} ({shown(life['ending'])})"
        yield Discrepancy("ledger.ending.life", serial, told)


def _check_hold(serial: str, dossier: Dossier, fate: _Fate) -> Iterator[Discrepancy]:
    hold = None if dossier.hold is None else (dossier.hold["dies_us"], dossier.hold["ending"])
    if hold == fate.held:
        return
    kind = "missing" if hold is None else "unlogged" if fate.held is None else "altered"
    told = f"after a release it would be {hold or 'unknown'}, by the log {fate.held or 'nothing'}"
    yield Discrepancy(f"ledger.hold.{kind}", serial, told)
