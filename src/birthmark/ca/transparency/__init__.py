# SPDX-License-Identifier: Apache-2.0
"""The log of all decisions, and the tables held against it."""
