# SPDX-License-Identifier: Apache-2.0
"""
Every number of the board link, for both its ends. What they mean is in docs/reference/smp-link.md.

Sources: Zephyr, "SMP Protocol Specification" and "OS management group"; mcumgr, "SMP over console".
"""

# --- SMP -------------------------------------------------------------------------------------------------------

HEADER_BYTES = 8
"""Reserved 3 bits, version 2 bits, operation 3 bits | flags | length 2 bytes | group 2 bytes | sequence | command."""

READ = 0
WRITE = 2
ANSWER = 1
"""Added to the operation of the request."""

OPERATION_BITS = 0x07
VERSION_SHIFT = 3
VERSION_1 = 0
VERSION_2 = 1
"""With version 2, errors of a group stand apart from those of SMP itself."""

GROUP_OS = 0
OS_ECHO = 0
OS_PARAMETERS = 6

RC = "rc"
ERR = "err"
ERR_GROUP = "group"

UNKNOWN = 1
NO_MEMORY = 2
INVALID = 3
BAD_STATE = 6
TOO_LARGE = 7
NOT_SUPPORTED = 8
BUSY = 10
TOO_OLD = 12
TOO_NEW = 13
"""Errors of SMP itself (MGMT_ERR)."""

# --- SMP over console --------------------------------------------------------------------------------------------

LINE_START = b"\x06\x09"
LINE_CONTINUE = b"\x04\x14"
LINE_END = 0x0A
LINE_BYTES = 127
"""The longest line, from its first delimiter to its newline."""

CRC_BYTES = 2
LENGTH_BYTES = 2

# --- our group ---------------------------------------------------------------------------------------------------

GROUP = 0x424D
"""Our group among those for users (64 and above): "BM"."""

LINK_VERSION = 1

FRAME_BYTES = 384
"""Longest SMP frame, header and payload, that a board takes and gives: the usual buffer of mcumgr."""

FRAME_BYTES_MIN = 160
FRAME_BYTES_MAX = 1472
"""What fits into one datagram on Ethernet."""

STAGE_BYTES = 16384
"""Longest value that is moved in parts, unless a board has less room: a certificate with ML-DSA, and room to spare."""

INFO = 0
OPEN = 1
IDENTITY = 2
STATE = 3
GENERATE = 4
PUBLIC_KEY = 5
ATTEST = 6
SIGN = 7
SIGN_STAGED = 8
STAGE = 9
RESULT = 10
CERTIFICATE = 11
ACTIVATE = 12
ERASE = 13

KIND_PKIX_EVIDENCE = 1
"""What `kind` says of an attestation: PKIX Evidence (draft-ietf-rats-pkix-key-attestation)."""

REVISION_LIMIT = 1 << 32

ABSENT = 2
LINK_FAILED = 3
STALE = 4
NOT_STAGED = 5
NO_RESULT = 6
TOO_LONG = 7
WRONG_VERSION = 8
STATUS_FIRST = 0x6000
STATUS_LAST = 0x6FFF
"""Errors of the group. From STATUS_FIRST on: the status word with which the chip refused."""
