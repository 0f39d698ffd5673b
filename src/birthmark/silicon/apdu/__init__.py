# SPDX-License-Identifier: Apache-2.0
"""Secure elements that speak APDUs over T=1'."""
