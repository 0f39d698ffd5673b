# SPDX-License-Identifier: Apache-2.0
"""Attacks on a running system, one file per threat of the case study. Each must be REFUSED."""
