# SPDX-License-Identifier: Apache-2.0
"""Pages for people: parse, call a service, render."""
