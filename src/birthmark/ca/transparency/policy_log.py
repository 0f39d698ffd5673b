# SPDX-License-Identifier: Apache-2.0
"""Which appraisal policy is in force, as an entry of the log, with its texts kept for auditors."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from birthmark.ca.ports import CAStore
from birthmark.core.audit import POLICY_ACT, AuditRow
from birthmark.core.clock import Clock
from birthmark.core.dossier import PolicyInForce
from birthmark.core.errors import ConfigError
from birthmark.core.ids import fingerprint
from birthmark.evidence.endorsements import Endorsements, read_endorsements

AUTHORITY = "authority"


def announce_policy(store: CAStore, canonical: bytes, texts: Mapping[str, bytes], clock: Clock) -> bool:
    """
    Write down that this policy is in force from now on, unless it is the last one that was; return whether it is new.

    `canonical` is what its digest is the digest of: kept, it says in ten years what was in force, whatever the program
    reads then. `texts` are the files that the policy is made of, by name, its own file first. Raises StoreError.
    """
    digest = fingerprint(canonical)
    with store.reading() as ledger:
        if _last(ledger.policies()) == digest:
            return False
    with store.writing() as ledger:
        before = _last(ledger.policies())
        if before == digest:
            return False
        at, entry = clock(), ledger.log_size()
        files = MappingProxyType({name: fingerprint(text) for name, text in texts.items()})
        ledger.keep([canonical, *texts.values()])
        detail = f"instead of {before}" if before else "the first one"
        ledger.append([AuditRow(at=at, who=AUTHORITY, act=POLICY_ACT, about=digest, detail=detail)])
        ledger.put_policy(PolicyInForce(digest, files, entry, at))
    return True


def _last(policies: tuple[PolicyInForce, ...]) -> str:
    return policies[-1].digest if policies else ""


def read_policy(path: Path, read: Callable[[Path], bytes]) -> tuple[Endorsements, Mapping[str, bytes]]:
    """
    Return the appraisal policy in a file and the texts that it is made of, its own file first.

    Raises:
        ConfigError, PathError: it cannot be used, or names a file that is not beside or below it: auditors get the
            texts by name, in one folder; what `read` raises passes through.

    """
    texts: dict[str, bytes] = {}

    def kept(each: Path) -> bytes:
        texts[_name_beside(path, each)] = content = read(each)
        return content

    return read_endorsements(path, kept), texts


def _name_beside(path: Path, each: Path) -> str:
    if not each.is_relative_to(path.parent) or ".." in each.parts[len(path.parent.parts) :]:
        raise ConfigError(f"{path}: names {each}, which is not beside it", hint="put the files of a policy beside it")
    return str(each.relative_to(path.parent))
