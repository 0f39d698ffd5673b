# SPDX-License-Identifier: Apache-2.0
"""What goes wrong when the operations CA issues. Files raise ConfigError, keys KeyStoreError, requests DecodeError."""

from birthmark.core.errors import BirthmarkError


class CredentialRefused(BirthmarkError):
    """No certificate was issued: `ca.credential.*` says which rule stands in the way."""

    default_finding = "ca.credential.refused"
    default_hint = "docs/reference/credentials.md"
