# SPDX-License-Identifier: Apache-2.0
"""Secure elements: one port, one folder per chip family, and the adapters on top."""
