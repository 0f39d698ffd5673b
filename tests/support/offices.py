# SPDX-License-Identifier: Apache-2.0
"""People with every role, with their files, at a CA that is made of files."""

from pathlib import Path

from birthmark.core.roles import Role
from birthmark.pki.authorities import make_officer
from birthmark.pki.keys.software import save_encrypted
from birthmark.testing.forge import new_key
from birthmark.testing.orders import hired
from support.ca_parts import AUTHORITY
from support.ca_process import PASSPHRASE, CAFiles, RunningCA
from support.tls_files import pem

RIG = "rig-a"


def hire_all(files: CAFiles) -> None:
    """Write a certificate and a key for each role of people, under the role's name."""
    for role in Role:
        if role is not Role.MACHINE:
            key = new_key()
            name = f"{role.value.title()} Smith"
            certificate = make_officer(files.operations, name, role, key.public_key(), files.now)
            files.identity(role.value, key, certificate)


def hire_office(files: CAFiles, *roles: Role) -> None:
    """Give people what they need for the program's commands: a certificate with its chain and an encrypted key."""
    for role in roles:
        person = hired(files.operations, f"the {role.value}", role, files.now)
        files.identity(role.value, person.key, *person.chain)
        save_encrypted(files.folder / f"{role.value}.p8", person.key, PASSPHRASE)
    files.folder.joinpath("office.pem").write_bytes(pem(files.forge.root.certificate, files.operations.certificate))


def office_options(ca: RunningCA, role: Role) -> tuple[str | Path, ...]:
    """Return the options of such a person at a CA that runs, who says which CA it must be."""
    return (*unnamed_options(ca, role), "--authority", AUTHORITY)


def unnamed_options(ca: RunningCA, role: Role) -> tuple[str | Path, ...]:
    """Return the options of such a person who does not say which CA it must be."""
    folder = ca.files.folder
    trust, certificate, key = folder / "office.pem", folder / f"{role.value}.pem", folder / f"{role.value}.p8"
    options = ("--url", ca.url, "--trust", trust, "--certificate", certificate, "--key", key)
    return (*options, "--passphrase-file", folder / "passphrase")


def identity_of(role: Role) -> str:
    """Return the name of the files of somebody with this role: a machine is a rig."""
    return RIG if role is Role.MACHINE else role.value
