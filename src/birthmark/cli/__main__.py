# SPDX-License-Identifier: Apache-2.0
"""`python -m birthmark.cli` is `birthmark`."""

from birthmark.cli.main import main

main()
