# SPDX-License-Identifier: Apache-2.0
"""The field agent: connect, publish, take commands, renew."""
