# SPDX-License-Identifier: Apache-2.0
"""Who works on the issuing authority: one role per certificate. What each may do is said where it is done."""

from enum import Enum


class Role(Enum):
    """The value stands in certificates (OU of the subject), in signed documents and in the log."""

    SECURITY_OFFICER = "security-officer"
    """Proposes what the authority shall do, and decides on what others have proposed."""
    APPROVER = "approver"
    """The second person: decides on proposals and proposes nothing."""
    AUDITOR = "auditor"
    """Reads everything and changes nothing."""
    LINE_LEAD = "line-lead"
    """Answers for a production line: scraps units and proposes rework."""
    MACHINE = "machine"
    """A rig: no person. Its certificate has no OU; id-kp-cmcRA makes it one."""
    FOLLOWER = "follower"
    """A relying service, such as the cloud's door: no person. It reads the feed of revocations and nothing else."""
