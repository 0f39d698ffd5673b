# SPDX-License-Identifier: Apache-2.0
"""
The legacy door: fielded units with one certificate per SKU and no chip. Pure.

Which door a certificate takes is decided by its issuer, never by what the client says; the two doors' trust shares no
certificate (checked at start). The rules, numbered on from the attested door's nine steps:

10. The door is open: before the sunset                          legacy.sunset
11. Chain, time and purpose under the legacy anchors             legacy.chain.*
12. The certificate carries no id-pe-cmw                         legacy.evidence-present
13. The claimed serial is not of the new line                    legacy.new-line-serial
14. Telemetry only                                               legacy.rights

The SKU's key is in every such unit, so a cloner may have it: rule 13 keeps it from becoming a new unit, rule 14 from
taking one over.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from birthmark.cloud.errors import CloudRefused
from birthmark.cloud.verification import checked_path
from birthmark.core.errors import BirthmarkError
from birthmark.core.registry import ID_PE_CMW
from birthmark.evidence.verdict import Finding, Verdict
from birthmark.pki.paths import TrustAnchors


@dataclass(frozen=True, slots=True)
class LegacyPolicy:
    """What is let in by the legacy door, and until when."""

    trust: TrustAnchors
    sunset: datetime
    new_line_serials: re.Pattern[str]
    """Matches a unit serial that can only belong to a unit with a chip."""

    def issued(self, leaf: x509.Certificate) -> bool:
        """Say which door the certificate goes to: its issuer's name is one of the legacy CAs'."""
        return any(ca.subject == leaf.issuer for ca in (*self.trust.certs, *self.trust.intermediates))


def verify_legacy(
    leaf: x509.Certificate, chain: Sequence[x509.Certificate], policy: LegacyPolicy, at: datetime
) -> Verdict:
    """Return the verdict of rules 10 to 12; nothing is attested by it."""
    passed: list[str] = []
    try:
        # 10. sunset
        if at >= policy.sunset:
            raise CloudRefused(f"the legacy door closed at {policy.sunset:%Y-%m-%d %H:%M} UTC", finding="legacy.sunset")
        passed.append("legacy.sunset")
        # 11. chain, time, purpose
        checked_path(leaf, chain, policy.trust, at, "legacy")
        passed.append("legacy.chain")
        # 12. no evidence
        _no_evidence(leaf)
        passed.append("legacy.evidence")
    except BirthmarkError as refusal:
        return Verdict(findings=(Finding(refusal.finding, refusal.message),), steps=tuple(passed))
    return Verdict(findings=(), steps=tuple(passed))


def refuse_new_line(policy: LegacyPolicy, claimed: str, *, registered: bool) -> None:
    """
    Take rule 13 for the serial that a legacy unit claims; `registered`: an attested unit has it.

    Raises:
        CloudRefused: legacy.new-line-serial.

    """
    if registered or policy.new_line_serials.search(claimed):
        raise CloudRefused(
            f"{claimed} is a unit with a chip; it cannot come without one", finding="legacy.new-line-serial"
        )


def _no_evidence(leaf: x509.Certificate) -> None:
    if any(extension.oid == ID_PE_CMW for extension in leaf.extensions):
        raise CloudRefused("a certificate with evidence has no business here", finding="legacy.evidence-present")
