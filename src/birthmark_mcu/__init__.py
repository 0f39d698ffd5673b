# SPDX-License-Identifier: Apache-2.0
"""The firmware library for the board's MCU: runs unchanged on MicroPython and CPython."""
