# SPDX-License-Identifier: Apache-2.0
"""The life of units and certificates after issuance, and that of roots."""
