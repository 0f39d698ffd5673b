# SPDX-License-Identifier: Apache-2.0
"""The demo: the whole chain on one machine, watched live, measured and then attacked."""
