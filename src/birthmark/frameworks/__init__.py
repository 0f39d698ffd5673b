# SPDX-License-Identifier: Apache-2.0
"""birthmark in the test frameworks that factories have: each asks a rig's station over its REST interface."""
