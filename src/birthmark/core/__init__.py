# SPDX-License-Identifier: Apache-2.0
"""What everything stands on: strict readers and writers, ids, the clock, the roots of the error trees."""
