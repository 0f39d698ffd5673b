# SPDX-License-Identifier: Apache-2.0
"""The board's end of the link to a rig: the chip's calls as a group of SMP, the protocol of Zephyr and mcumgr."""
