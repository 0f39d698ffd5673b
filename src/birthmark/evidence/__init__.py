# SPDX-License-Identifier: Apache-2.0
"""What a chip says about a key, and the appraisal of it. No I/O, no clock."""
