# SPDX-License-Identifier: Apache-2.0
"""Enrolment over secure transport (RFC 7030, 8951, 9908) and the nonce call. Bytes in, bytes out."""
