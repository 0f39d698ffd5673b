# SPDX-License-Identifier: Apache-2.0
"""Production orders: what two persons have signed, and what was taken from it."""
