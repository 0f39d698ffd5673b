# SPDX-License-Identifier: Apache-2.0
"""The front door: command groups, and the one place where an error becomes a line and an exit code."""

import errno
import os
import sys
from typing import Final, NoReturn

import click

from birthmark.cli.attack import attack
from birthmark.cli.audit import audit
from birthmark.cli.ca import ca
from birthmark.cli.cloud import cloud
from birthmark.cli.demo import demo
from birthmark.cli.device import device
from birthmark.cli.exits import Exit, exit_for
from birthmark.cli.lab import lab
from birthmark.cli.line import line
from birthmark.cli.verify import verify
from birthmark.core.errors import BirthmarkError

_DISK: Final = frozenset({errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EFBIG})


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="birthmark", prog_name="birthmark")
def birthmark() -> None:
    """Hardware-rooted identity for connected devices, from the SMT line to the field."""


for command in (demo, lab, attack, verify, audit, line, device, ca, cloud):
    birthmark.add_command(command)


def main() -> None:
    """Run the command line. Every failure ends as one line on stderr and a documented exit code."""
    try:
        birthmark.main(prog_name="birthmark", standalone_mode=False)
    except click.Abort:
        _fail("run.stopped", "stopped from the keyboard", "run it again: it goes on from where things are")
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(Exit.USAGE)
    except click.ClickException as error:
        _fail("usage.invalid", error.format_message().rstrip("."), f"see {_command(error)} --help")
    except BirthmarkError as error:
        _fail(error.finding, error.message, error.hint)
    except OSError as error:
        _fail(*_os_failure(error))
    except Exception as error:
        if os.environ.get("BIRTHMARK_DEBUG"):
            raise
        _fail("internal", f"{type(error).__name__}: {error}", "set BIRTHMARK_DEBUG=1 and report it")


def _command(error: click.ClickException) -> str:
    context = error.ctx if isinstance(error, click.UsageError) else None
    return context.command_path if context else "birthmark"


def _os_failure(error: OSError) -> tuple[str, str, str]:
    # Only the standard streams are written to without a name.
    what = f"{error.filename or 'the output'}: {error.strerror or error}"
    if error.errno in _DISK:
        return "disk.unwritable", what, "make room, or name a place that can be written"
    return "input.file", what, "name a file that is there and whose rights allow it"


def _fail(finding: str, message: str, hint: str) -> NoReturn:
    line = f"birthmark: {finding}: {message}" + (f"; {hint}" if hint else "")
    click.echo(" ".join(line.split("\n")), err=True)
    sys.exit(exit_for(finding))
