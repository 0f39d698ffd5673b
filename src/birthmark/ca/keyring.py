# SPDX-License-Identifier: Apache-2.0
"""The authority's private keys, in encrypted files or in tokens. A token is opened once, however many keys it holds."""

from contextlib import ExitStack
from pathlib import Path
from typing import Self

from birthmark.ca.config import KeySection, SoftwareKey, TokenKey, read_secret
from birthmark.pki.algorithms import SigningKey
from birthmark.pki.keys import software
from birthmark.pki.keys.pkcs11 import Token


class Keyring:
    """Lends keys until it is closed. Paths are relative to `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tokens: dict[tuple[str, str], Token] = {}
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_reason: object) -> None:
        self._open.close()

    def key(self, section: KeySection) -> SigningKey:
        """
        Return the key that a section of the configuration names.

        Raises:
            ConfigError: a secret that cannot be read.
            KeyStoreError: the key cannot be had.

        """
        match section:
            case SoftwareKey():
                path = self._folder / section.file
                return software.load_encrypted(path, read_secret(self._folder / section.passphrase_file))
            case TokenKey():
                return self._token(section).key(section.label)

    def _token(self, section: TokenKey) -> Token:
        name = section.module, section.token
        if name not in self._tokens:
            pin = read_secret(self._folder / section.pin_file)
            token = Token.open(self._folder / section.module, section.token, pin)
            self._tokens[name] = self._open.enter_context(token)
        return self._tokens[name]
