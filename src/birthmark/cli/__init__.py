# SPDX-License-Identifier: Apache-2.0
"""
The `birthmark` command: one file per command group; each parses, calls a service and prints.

Commands import what they need when they run, so that `--help` answers at once.
"""

from birthmark.cli.main import main

__all__ = ["main"]
