# SPDX-License-Identifier: Apache-2.0
"""Opens the operations CA: its key, its policies, and the CA's ledger where that is at hand."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cryptography import x509

from birthmark.ca.config import CAConfig, load_config
from birthmark.ca.keyring import Keyring
from birthmark.ca.operations.file import FileKey, OperationsFile, load_operations
from birthmark.ca.operations.issuing import CredentialDesk
from birthmark.ca.wiring import configured_store
from birthmark.core.clock import system_clock
from birthmark.core.config import read_file
from birthmark.core.errors import ConfigError
from birthmark.core.secret_files import read_secret
from birthmark.pki.algorithms import SigningKey, acceptable_certificate
from birthmark.pki.authorities import Authority
from birthmark.pki.keys import software
from birthmark.pki.paths import read_certificates


@contextmanager
def open_operations(path: Path) -> Iterator[CredentialDesk]:
    """
    Open the operations CA that operations.toml describes.

    Raises:
        ConfigError: a file cannot be used, or certificate and key do not belong together.
        AlgorithmRefused, KeyStoreError, StoreError.

    """
    file, folder = load_operations(path), path.parent
    certificate = _certificate(folder / file.certificate)
    with ExitStack() as open_things:
        key = _key(file, folder, open_things)
        if key.public_key() != certificate.public_key():
            raise ConfigError(f"{path}: the key is not the certificate's", hint="name the two that belong together")
        store = None
        if file.ledger is not None:
            config, home = load_config(folder / file.ledger), (folder / file.ledger).parent
            _demand_other_key(certificate, config, home)
            store = open_things.enter_context(configured_store(config, home))
        yield CredentialDesk(file, Authority(certificate, key), store, system_clock)


def _demand_other_key(certificate: x509.Certificate, config: CAConfig, home: Path) -> None:
    """Pass a key that issues to no devices: those keys sign what was attested, and nothing else."""
    for name in (config.issuing_certificate, *(each.certificate for each in config.issuer)):
        issuing = read_certificates(read_file(home / name), str(home / name))[0]
        if issuing.public_key() == certificate.public_key():
            raise ConfigError(f"{home / name} is an issuing CA of devices", hint="name the operations CA")


def _certificate(path: Path) -> x509.Certificate:
    found = read_certificates(read_file(path), str(path))
    if len(found) != 1:
        raise ConfigError(f"{path}: {len(found)} certificates", hint="name the operations CA's alone")
    acceptable_certificate(found[0])
    try:
        constraints = found[0].extensions.get_extension_for_class(x509.BasicConstraints).value
    except (x509.ExtensionNotFound, ValueError) as error:
        raise ConfigError(f"{path}: {error}", hint="name the certificate of the operations CA") from error
    if not constraints.ca:
        raise ConfigError(f"{path}: not the certificate of a CA", hint="name that of the operations CA")
    return found[0]


def _key(file: OperationsFile, folder: Path, open_things: ExitStack) -> SigningKey:
    if isinstance(file.key, FileKey):
        passphrase = b"".join(read_secret(folder / name) for name in file.key.passphrase_files)
        return software.load_encrypted(folder / file.key.file, passphrase)
    return open_things.enter_context(Keyring(folder)).key(file.key)
