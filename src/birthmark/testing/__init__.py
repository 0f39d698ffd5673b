# SPDX-License-Identifier: Apache-2.0
"""The lab, the attacks, the demo and the forge: shipped, used by tests and users alike."""
