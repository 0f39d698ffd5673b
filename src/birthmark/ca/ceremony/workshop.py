# SPDX-License-Identifier: Apache-2.0
"""Where a ceremony's keys are made and found: tokens, and encrypted files with a split passphrase."""

import secrets
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from birthmark.ca.ceremony import files
from birthmark.ca.ceremony.errors import CeremonyChanged
from birthmark.ca.ceremony.file import FileKey, TokenKey, TokenSection
from birthmark.ca.ceremony.plan import Plan, PlannedKey
from birthmark.core.secret_files import read_secret
from birthmark.pki.algorithms import SigningKey, key_algorithm
from birthmark.pki.errors import KeyMissing
from birthmark.pki.keys import software
from birthmark.pki.keys.pkcs11 import Token
from birthmark.pki.keys.pkcs11.policy import KeyFacts

PASSPHRASE_PART_BYTES: Final = 16
"""Random bytes in each part of a passphrase; it is written in hexadecimal, twice as long."""


class Workshop:
    """The tokens of a plan, each opened when it is first needed, and the directory that its paths are relative to."""

    def __init__(self, plan: Plan, home: Path) -> None:
        self._home = home
        self._sections: dict[str, TokenSection] = {section.label: section for section in plan.tokens}
        self._open: dict[str, Token] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def path(self, name: str) -> Path:
        """Return the path that a name in the plan stands for."""
        return self._home / name

    def token(self, label: str) -> Token:
        """Return the open token. Raises KeyStoreError, or ConfigError for its PIN file."""
        if label not in self._open:
            section = self._sections[label]
            pin = read_secret(self.path(section.pin_file))
            token = Token.open(self.path(section.module), section.label, pin)
            self._open[label] = self._stack.enter_context(token)
        return self._open[label]

    def find(self, planned: PlannedKey) -> SigningKey | None:
        """
        Return the key if it is in its place.

        Raises:
            CeremonyChanged: `ceremony.key`, a key of another type is there.
            KeyStoreError: the token or the file does not give it.
            ConfigError: a part of the passphrase, or a PIN, cannot be read.

        """
        match planned.place:
            case FileKey():
                found = self._find_file(planned.place)
            case TokenKey():
                found = self._find_in_token(planned.place)
        if found is not None and key_algorithm(found.public_key()) is not planned.algorithm:
            raise CeremonyChanged(f"key {planned.id!r} is no {planned.algorithm.value} key", finding="ceremony.key")
        return found

    def make(self, planned: PlannedKey) -> SigningKey:
        """
        Make the key in its place, where there is none.

        Raises:
            KeyExists: the token has something of that label.
            CeremonyRefused: `ceremony.present`, a file is there.
            KeyStoreError: as `find`.

        """
        match planned.place:
            case TokenKey(token=token, label=label):
                return self.token(token).generate(label, planned.algorithm)
            case FileKey():
                return self._make_file(planned.place, planned)

    def is_taken(self, place: TokenKey) -> bool:
        """Tell whether the token shows a private key of that label. Raises KeyStoreError."""
        return self._facts(place) is not None

    def attributes(self, planned: PlannedKey) -> tuple[str, ...]:
        """Return what the token, or the file, says of a key that is there, in the plan's words."""
        match planned.place:
            case FileKey():
                return planned.attributes
            case TokenKey():
                facts = self._facts(planned.place)
                said = sorted(facts.attributes.items()) if facts else ()
                return tuple(f"CKA_{name}={str(value).lower()}" for name, value in said)

    def find_passphrase(self, place: FileKey) -> bool:
        """Tell whether every part of the passphrase is there."""
        return all(files.is_written(self.path(name)) for name in place.passphrase_files)

    def make_passphrase(self, place: FileKey) -> None:
        """Write the parts of a new passphrase that are not there, each random and for its owner's eyes alone."""
        for name in place.passphrase_files:
            if not files.is_written(self.path(name)):
                part = secrets.token_hex(PASSPHRASE_PART_BYTES).encode()
                files.write_new(self.path(name), part + b"\n", files.SECRET_MODE)

    def _passphrase(self, place: FileKey) -> bytes:
        return b"".join(read_secret(self.path(name)) for name in place.passphrase_files)

    def _find_file(self, place: FileKey) -> SigningKey | None:
        path = self.path(place.file)
        if not files.is_written(path):
            return None
        return software.load_encrypted(path, self._passphrase(place))

    def _make_file(self, place: FileKey, planned: PlannedKey) -> SigningKey:
        path, passphrase = self.path(place.file), self._passphrase(place)
        files.claim(path)
        key = software.generate(planned.algorithm)
        software.save_encrypted(path, key, passphrase)
        return key

    def _find_in_token(self, place: TokenKey) -> SigningKey | None:
        try:
            return self.token(place.token).key(place.label)
        except KeyMissing:
            return None

    def _facts(self, place: TokenKey) -> KeyFacts | None:
        shown = self.token(place.token).keys()
        return next((facts for facts in shown if facts.label == place.label), None)
