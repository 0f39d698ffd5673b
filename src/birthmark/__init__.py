# SPDX-License-Identifier: Apache-2.0
"""Hardware-rooted identity for connected devices, from the SMT line to the field."""
