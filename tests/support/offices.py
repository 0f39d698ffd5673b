# SPDX-License-Identifier: Apache-2.0
"""People with every role, with their files, at a CA that is made of files."""

from birthmark.core.roles import Role
from birthmark.pki.authorities import make_officer
from birthmark.testing.forge import new_key
from support.ca_process import CAFiles

RIG = "rig-a"


def hire_all(files: CAFiles) -> None:
    """Write a certificate and a key for each role of people, under the role's name."""
    for role in Role:
        if role is not Role.MACHINE:
            key = new_key()
            name = f"{role.value.title()} Smith"
            certificate = make_officer(files.operations, name, role, key.public_key(), files.now)
            files.identity(role.value, key, certificate)


def identity_of(role: Role) -> str:
    """Return the name of the files of somebody with this role: a machine is a rig."""
    return RIG if role is Role.MACHINE else role.value
