# SPDX-License-Identifier: Apache-2.0
"""What ca.toml says about the CA of rigs, made into who signs their certificates."""

from pathlib import Path

from cryptography import x509

from birthmark.ca.config import CAConfig
from birthmark.ca.issuing.setup import authority_of
from birthmark.ca.keyring import Keyring
from birthmark.ca.rigs.desk import RigIssuer
from birthmark.core.errors import ConfigError
from birthmark.pki.authorities import RIG_USAGES


def rig_issuer(config: CAConfig, folder: Path, keys: Keyring) -> RigIssuer | None:
    """
    Return who certifies rigs, or None where nobody does.

    A CA that could certify others too, the operations CA for example, is refused: its key would be where a service is.

    Raises:
        ConfigError: not the certificate of a CA of rigs, or a key that belongs to another one. KeyStoreError.

    """
    if config.rigs is None:
        return None
    authority = authority_of(config.rigs.certificate, config.rigs.key, folder, keys)
    if not _is_for_rigs_alone(authority.certificate):
        hint = 'a ceremony makes one: [[ca]] use = "rigs"'
        raise ConfigError(f"[rigs]: {config.rigs.certificate} is not the certificate of a CA of rigs", hint=hint)
    return RigIssuer(authority, config.rigs.validity_days)


def _is_for_rigs_alone(certificate: x509.Certificate) -> bool:
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    return constraints.ca and frozenset(usages) == frozenset(RIG_USAGES)
