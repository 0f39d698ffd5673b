# SPDX-License-Identifier: Apache-2.0
"""Holds what CA, rigs and MES have written down of a line's units against each other, row by row."""
