# SPDX-License-Identifier: Apache-2.0
"""What a chip's refusals mean (ISO/IEC 7816-4 table 6), in the words of the person at the rig."""

from birthmark.silicon.errors import ChipFull, ChipRefused

NOT_ENOUGH_MEMORY = 0x6A84

_MEANINGS = {
    0x6700: "the length is wrong",
    0x6883: "the last part of a chained command is missing",
    0x6985: "the chip's state does not allow it",
    0x6A80: "the data is not what the command needs",
    NOT_ENOUGH_MEMORY: "there is no room in the chip",
    0x6A86: "there is no such slot or algorithm",
    0x6A88: "the slot holds no such object",
    0x6D00: "the chip does not know the command",
    0x6F00: "the chip failed inside",
}


def refusal(status: int, doing: str) -> ChipRefused:
    """Return the error for a status word with which the chip refused what was being done."""
    kind = ChipFull if status == NOT_ENOUGH_MEMORY else ChipRefused
    return kind(f"cannot {doing}: {_MEANINGS.get(status, 'the chip refused')} ({status:04X})")
