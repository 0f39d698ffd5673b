# SPDX-License-Identifier: Apache-2.0
"""What rigs know of their units, kept for sites whose rigs share no database."""
