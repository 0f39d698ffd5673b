# SPDX-License-Identifier: Apache-2.0
"""The formats and proofs of a tiled transparency log (C2SP tlog-tiles, RFC 6962). No I/O, no clock."""
