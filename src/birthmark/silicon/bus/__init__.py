# SPDX-License-Identifier: Apache-2.0
"""Buses that a chip hangs on."""
