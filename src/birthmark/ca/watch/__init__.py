# SPDX-License-Identifier: Apache-2.0
"""How the service does: health, metrics, its log lines, and what it does unasked."""
