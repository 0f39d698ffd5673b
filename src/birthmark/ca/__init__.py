# SPDX-License-Identifier: Apache-2.0
"""The issuing authority: appraise, then issue."""
