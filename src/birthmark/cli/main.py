# SPDX-License-Identifier: Apache-2.0
"""The front door: command groups, and the one place where an error becomes a line and an exit code."""

import errno
import os
import sys

import click

from birthmark.cli.attack import attack
from birthmark.cli.ca import ca
from birthmark.cli.cloud import cloud
from birthmark.cli.demo import demo
from birthmark.cli.device import device
from birthmark.cli.exits import Exit, exit_for
from birthmark.cli.lab import lab
from birthmark.cli.line import line
from birthmark.cli.verify import verify
from birthmark.core.errors import BirthmarkError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="birthmark", prog_name="birthmark")
def birthmark() -> None:
    """Hardware-rooted identity for connected devices, from the SMT line to the field."""


for command in (demo, lab, attack, verify, line, device, ca, cloud):
    birthmark.add_command(command)


def main() -> None:
    """Run the command line. Every failure ends as one line on stderr and a documented exit code."""
    try:
        birthmark.main(standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.Abort:
        _fail("stopped", Exit.NOT_HELD)
    except click.ClickException as error:
        error.show()
        sys.exit(Exit.USAGE)
    except BirthmarkError as error:
        _fail(f"{error.finding}: {error}", exit_for(error.finding))
    except OSError as error:
        _fail(_os_line(error), Exit.DISK if error.errno in (errno.ENOSPC, errno.EROFS, errno.EDQUOT) else Exit.INPUT)
    except Exception as error:
        if os.environ.get("BIRTHMARK_DEBUG"):
            raise
        _fail(f"internal: {type(error).__name__}: {error}; set BIRTHMARK_DEBUG=1 and report it", Exit.INTERNAL)


def _os_line(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    return f"input.file: {where}{error.strerror or error}"


def _fail(line: str, code: Exit) -> None:
    click.echo(f"birthmark: {line}", err=True)
    sys.exit(code)
