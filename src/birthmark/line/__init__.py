# SPDX-License-Identifier: Apache-2.0
"""The rig at the SMT line: panel, sequence, journal, outbox."""
