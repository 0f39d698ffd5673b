# SPDX-License-Identifier: Apache-2.0
"""A chip behind its board's MCU, reached over SMP (docs/reference/smp-link.md)."""
