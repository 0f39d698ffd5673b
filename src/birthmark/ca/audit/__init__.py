# SPDX-License-Identifier: Apache-2.0
"""The log for outsiders: what is handed to an auditor, and how the auditor verifies it."""
