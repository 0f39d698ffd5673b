# SPDX-License-Identifier: Apache-2.0
"""The authority's private keys, in encrypted files or in tokens. A token is opened once, however many keys it holds."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from birthmark.ca.config import KeySection, SoftwareKey, TokenKey
from birthmark.core.secret_files import read_secret
from birthmark.pki.algorithms import SigningKey
from birthmark.pki.keys import software
from birthmark.pki.keys.pkcs11 import Outage, Token


class Keyring:
    """
    Lends keys until it is closed. Paths are relative to `folder`.

    `on_outage` is told of each outage of a token as it ends, in the thread that reopened it. It must not raise.
    """

    def __init__(self, folder: Path, on_outage: Callable[[Outage], None] | None = None) -> None:
        self._folder = folder
        self._on_outage = on_outage
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
            module = self._folder / section.module
            token = Token.open(module, section.token, pin, on_event=self._on_outage)
            self._tokens[name] = self._open.enter_context(token)
        return self._tokens[name]
