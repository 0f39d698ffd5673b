# SPDX-License-Identifier: Apache-2.0
"""The ways to a factory's MES, and which of them a rig has."""
