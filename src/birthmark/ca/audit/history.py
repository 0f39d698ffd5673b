# SPDX-License-Identifier: Apache-2.0
"""
The log's entries in a bundle: each is in the log, none of a thread is missing, and the manifest is what they commit to.

A thread is complete because each entry names the one before it by number and hash. Where a thread ends is said by the
making of the bundle: for the unit by its own entry, for the others by the manifest that this entry commits to.
"""

from collections.abc import Iterator, Sequence

from birthmark.ca.audit.case import Case, Entry, last, moment
from birthmark.ca.audit.findings import AuditFinding, Proven, Told, Unproven
from birthmark.ca.transparency import bundle_format as bundle
from birthmark.core.audit import BELIEVED_ACTS, CONFIGURATION_ACT, decode_row, link, order_thread
from birthmark.core.errors import DecodeError
from birthmark.core.ids import fingerprint
from birthmark.tlog.bundle import ProofBundle, ProvenEntry
from birthmark.tlog.checkpoint import Checkpoint, open_checkpoint
from birthmark.tlog.errors import NoteRefused, ProofRefused
from birthmark.tlog.keys import VerifierKey
from birthmark.tlog.tree import leaf_hash, verify_inclusion

TOPIC = "history"
_SIGNATURE_MARK = "\n\n"


def opened(proofs: ProofBundle, keys: Sequence[VerifierKey]) -> Checkpoint | AuditFinding:
    """Return the checkpoint that the log of one of these keys signed, and nobody else; or why it is none."""
    try:
        checkpoint = open_checkpoint(proofs.checkpoint, keys)
    except (NoteRefused, DecodeError) as error:
        return AuditFinding("audit.checkpoint", "checkpoint", f"{error.finding}: {error.message}")
    # A signature of somebody unknown says nothing and would not be verified: none is let in.
    if proofs.checkpoint.decode().rpartition(_SIGNATURE_MARK)[2].count("\n") != 1:
        return AuditFinding("audit.checkpoint", "checkpoint", "it carries more than the log's signature")
    return checkpoint


def read_entries(proofs: ProofBundle, checkpoint: Checkpoint) -> Iterator[Entry | AuditFinding]:
    """Yield each entry that is in the log and can be read; a finding for each that is not, or cannot."""
    for each in proofs.entries:
        try:
            verify_inclusion(leaf_hash(each.entry), each.index, each.proof, checkpoint.head)
            yield Entry(each.index, each.entry, decode_row(each.entry))
        except (ProofRefused, DecodeError) as error:
            yield AuditFinding("audit.entry", _name(each), f"{error.finding}: {error.message}")


def _name(each: ProvenEntry) -> str:
    return f"entry {each.index}"


def check_history(case: Case, told: bytes) -> Iterator[Told]:
    """Pass entries of the threads that belong here, each whole, and the manifest `told` that the last one names."""
    orders = [order_thread(order) for order in dict.fromkeys(each.row.order for each in case.issued)]
    believed = [act for act in BELIEVED_ACTS if act != CONFIGURATION_ACT or _are_configured(case)]
    wanted = (case.unit_thread, *orders, *believed)
    for each in case.entries:
        if each.row.thread not in wanted:
            detail = f"it is about {each.row.thread or 'nothing here'}: {each.row.act}"
            yield AuditFinding("audit.entry", f"entry {each.number}", detail)
    yield from _check_manifest(case, told)
    ends = {end.thread: end.last for end in case.manifest.threads}
    for name in (*orders, *believed):
        yield from _check_thread(case, name, ends.pop(name, ""))
    yield from _check_links(case.unit_thread, case.threads[case.unit_thread], "")
    yield from (AuditFinding("audit.manifest", f"thread {name}", "it belongs to nothing here") for name in ends)
    yield from _check_configurations(case)
    yield from _told(case, orders)


def _are_configured(case: Case) -> bool:
    """Say whether a certificate names a configuration, or one is there: before the first one, none is named."""
    return any(each.row.configuration is not None for each in case.issued) or CONFIGURATION_ACT in case.threads


def _check_configurations(case: Case) -> Iterator[Told]:
    """Pass certificates that were signed by a configuration which the log had by then."""
    known = {each.number for each in case.threads.get(CONFIGURATION_ACT, ())}
    for each in case.issued:
        number = each.row.configuration
        if number is not None and (number not in known or number > each.number):
            detail = f"it was signed by the configuration of entry {number}, which is not here, or came later"
            yield AuditFinding("audit.configuration", f"certificate {each.row.certificate}", detail)


def _check_manifest(case: Case, told: bytes) -> Iterator[Told]:
    making = last(case.threads[case.unit_thread])
    if making is None or making.row.act != bundle.BUNDLE_ACT or making.row.finding:
        detail = "the entry of the making of the bundle is not the last one about the unit"
        yield AuditFinding("audit.missing", case.unit_thread, detail)
    elif making.row.about != fingerprint(told) or making.row.at != case.manifest.made_at:
        yield AuditFinding("audit.manifest", "manifest", "it is not the one that the log commits to")


def _check_thread(case: Case, name: str, end: str) -> Iterator[Told]:
    entries = case.threads.get(name, [])
    if not entries:
        yield AuditFinding("audit.missing", name, "none of its entries is there")
        return
    first, newest = entries[0], entries[-1]
    whole = name not in BELIEVED_ACTS or first.number > case.first_needed
    yield from _check_links(name, entries, "" if whole else first.row.previous)
    if end != link(newest.number, newest.data):
        detail = f"it ends with {newest.number}, and did with {end.partition(':')[0] or 'nothing'} at the making"
        yield AuditFinding("audit.missing", name, detail)


def _check_links(name: str, entries: Sequence[Entry], before: str) -> Iterator[Told]:
    for each in entries:
        if each.row.previous != before:
            said, there = (text.partition(":")[0] or "nothing" for text in (each.row.previous, before))
            detail = f"entry {each.number} follows {said}, the bundle has {there} there"
            yield AuditFinding("audit.missing", name, detail)
        before = link(each.number, each.data)


def _told(case: Case, orders: Sequence[str]) -> Iterator[Told]:
    unit, made_at = case.manifest.unit_serial, moment(case.manifest.made_at)
    about = len(case.threads[case.unit_thread])
    yield Proven(TOPIC, f"{about} entries about unit {unit}: none is missing up to {made_at}")
    for name in orders:
        count = len(case.threads.get(name, ()))
        yield Proven(TOPIC, f"{count} entries about {name.replace(':', ' ')}: none is missing up to {made_at}")
    yield Unproven(
        TOPIC,
        f"what was logged after {made_at}; and that the log shows everybody the same history: for both,"
        " birthmark audit verify-log --since a checkpoint that was kept",
    )
