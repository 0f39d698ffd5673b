# SPDX-License-Identifier: Apache-2.0
"""Whether the texts of an appraisal policy, as a database hands them out, are those of the policy that was in force."""

from collections.abc import Mapping
from pathlib import Path

from birthmark.ca.audit.errors import AuditRefused
from birthmark.core.errors import BirthmarkError
from birthmark.evidence.endorsements import read_endorsements


def demand_policy(digest: str, texts: Mapping[str, bytes]) -> None:
    """
    Pass texts, the policy's own first, that make the policy with this digest, under names inside of one folder.

    The digest is what the log holds; which texts belong to it is only said by a table.

    Raises:
        AuditRefused: audit.policy.

    """
    for name in texts:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise AuditRefused(f"the policy has a file {name[:200]!r}, outside of its folder", finding="audit.policy")
    try:
        found = read_endorsements(Path(next(iter(texts))), lambda path: texts[str(path)]).digest
    except (BirthmarkError, KeyError, StopIteration) as error:
        raise AuditRefused(f"the texts make no policy: {error}", finding="audit.policy") from error
    if found != digest:
        raise AuditRefused(f"the texts make the policy {found}, not {digest}", finding="audit.policy")
