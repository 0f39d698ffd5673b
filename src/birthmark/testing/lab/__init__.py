# SPDX-License-Identifier: Apache-2.0
"""A whole birthmark system on free loopback ports: the demo, the attacks and the acceptance tests stand on it."""
