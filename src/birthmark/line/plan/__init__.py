# SPDX-License-Identifier: Apache-2.0
"""The planner: what a line will do, before it is bought. docs/reference/line-plan.md has its assumptions."""
