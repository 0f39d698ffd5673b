# SPDX-License-Identifier: Apache-2.0
"""The issuing authority's configuration, ca.toml. docs/reference/config.md describes every key."""

from datetime import date
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from birthmark.core.config import Config, load
from birthmark.core.errors import ConfigError
from birthmark.core.proposals import AuthorityName
from birthmark.net.front.description import WORKERS_MAX
from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.pki.crl import PARTITIONS_MAX

RESPONSE_S: Final = 86_400
BUDGET_PER_S: Final = 5.0
BUDGET_BURST: Final = 50
"""How OCSP is answered where `[ocsp]` says nothing else."""

NONCE_EXPIRY_MAX_S: Final = 3_600
"""Evidence is fresh for as long as its nonce is good: a longer life would do away with the demand."""
BIRTH_GRACE_MAX_S: Final = 2_592_000
"""30 days: beyond it a certificate without a birth record would live on like one with."""

KEEP_DAYS_MAX: Final = 36_500
RIG_DAYS_MAX: Final = 397
NONCES_PER_RIG: Final = 1_000
NONCES_PER_RIG_MAX: Final = 10_000_000

Seconds = Annotated[int, msgspec.Meta(ge=1)]
Text = Annotated[str, msgspec.Meta(min_length=1)]
Digest = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]


class SoftwareKey(Config, frozen=True, tag_field="kind", tag="software"):
    """`[issuing_key] kind = "software"`: an encrypted key file. Not for production."""

    file: Text
    passphrase_file: Text


class TokenKey(Config, frozen=True, tag_field="kind", tag="pkcs11"):
    """`[issuing_key] kind = "pkcs11"`: a key that stays in an HSM."""

    module: Text
    token: Text
    label: Text
    pin_file: Text


KeySection: TypeAlias = SoftwareKey | TokenKey


class LogSection(Config, frozen=True):
    """`[log]`: the transparency log. `origin` is its name in the world, as in `example.com/device-ca`."""

    origin: AuthorityName
    """Signed documents name the CA by it."""
    key: KeySection


class ResponderSection(Config, frozen=True):
    """`[issuer.ocsp]`: the delegated responder of one issuer, whose certificate a ceremony made."""

    certificate: Text
    key: KeySection


class OCSPSection(ResponderSection, frozen=True):
    """`[ocsp]`: the first issuer's responder, and how all of them answer. Without it the first issuer has no OCSP."""

    response_s: Seconds = RESPONSE_S
    budget_per_s: Annotated[float, msgspec.Meta(gt=0, le=10_000)] = BUDGET_PER_S
    budget_burst: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = BUDGET_BURST


class FrontSection(Config, frozen=True):
    """`[front]`: TLS ends in a front of its own, before several workers; without it, in the service's one process."""

    kind: Literal["envoy"]
    workers: Annotated[int, msgspec.Meta(ge=1, le=WORKERS_MAX)] = 1


class MetricsSection(Config, frozen=True):
    """`[metrics]`: where Prometheus reads them, on 127.0.0.1; several workers share their numbers in a folder."""

    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)]
    folder: Text | None = None


class IssuerSection(Config, frozen=True):
    """`[[issuer]]`: one more issuing CA beside the first, for the profiles that name it. Its files are PEM."""

    name: Text
    certificate: Text
    key: KeySection
    chain: Text | None = None
    crl_name: Text | None = None
    ocsp: ResponderSection | None = None


class EARSection(Config, frozen=True):
    """`[ear]`: the verifier that signs attestation results, for profiles of the kind device-private."""

    key: KeySection
    developer: Text | None = None


class RigsSection(Config, frozen=True):
    """`[rigs]`: the CA of rigs, which a ceremony made (use = "rigs"): rigs enrol and renew themselves under it."""

    certificate: Text
    key: KeySection
    validity_days: Annotated[int, msgspec.Meta(ge=1, le=RIG_DAYS_MAX)] = 90


class ProfileSection(Config, frozen=True):
    """`[[profile]]`: what may be issued to keys of which algorithms, until the end of which day (UTC)."""

    name: Text
    algorithms: Annotated[tuple[KeyAlgorithm, ...], msgspec.Meta(min_length=1)]
    last_issue: date
    validity_days: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1_825
    same_key_days: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 0
    kind: Literal["device", "device-private", "idevid"] = "device"
    max_bytes: Annotated[int, msgspec.Meta(ge=512, le=65_535)] | None = None
    issuer: str = ""
    """The name of an `[[issuer]]`; without one, the issuing CA at the top of the file."""


class CAConfig(Config, frozen=True):
    """ca.toml. Paths are relative to the file; each file named is PEM, except `database` and `endorsements`."""

    tls_certificate: Text
    tls_key: Text
    client_trust: Text
    ca_chain: Text
    issuing_certificate: Text
    issuing_key: KeySection
    log: LogSection
    organization: Text
    profile: Annotated[tuple[ProfileSection, ...], msgspec.Meta(min_length=1)]
    denied_clients: tuple[Digest, ...] = ()
    """Keys of persons, rigs and followers that may not come any more, whatever certificates they have."""
    issuer: tuple[IssuerSection, ...] = ()
    ear: EARSection | None = None
    rigs: RigsSection | None = None
    host: str = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 0
    database: Text | None = None
    """The SQLite file; without a database_dsn_file, ca.sqlite."""
    database_dsn_file: Text | None = None
    units_database: Text | None = None
    units_dsn_file: Text | None = None
    """Where the rigs' records of units are kept, as SQLite file or in PostgreSQL; without either, nowhere."""
    keep_attempts_days: Annotated[int, msgspec.Meta(ge=1, le=KEEP_DAYS_MAX)] = 90
    keep_units_days: Annotated[int, msgspec.Meta(ge=1, le=KEEP_DAYS_MAX)] = 400
    endorsements: Text = "endorsements.toml"
    rollover: Text | None = None
    nonce_expiry_s: Annotated[int, msgspec.Meta(ge=1, le=NONCE_EXPIRY_MAX_S)] = 60
    nonces_per_rig: Annotated[int, msgspec.Meta(ge=1, le=NONCES_PER_RIG_MAX)] = NONCES_PER_RIG
    birth_grace_s: Annotated[int, msgspec.Meta(ge=1, le=BIRTH_GRACE_MAX_S)] = 86_400
    rotation_overlap_s: Seconds = 604_800
    crl_next_update_s: Seconds = 3_600
    crl_partitions: Annotated[int, msgspec.Meta(ge=0, le=PARTITIONS_MAX)] = 0
    crl_name: Text | None = None
    status_max_age_s: Seconds = 5
    status_port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] | None = None
    ocsp: OCSPSection | None = None
    checkpoint_every_s: Seconds = 1
    front: FrontSection | None = None
    metrics: MetricsSection | None = None
    log_format: Literal["text", "json"] = "text"


def load_config(path: Path) -> CAConfig:
    """
    Return the configuration in `path`.

    Raises:
        ConfigError: the file, a key or a value cannot be used; two profiles or issuers have one name; a profile's
            issuer, or the verifier that its kind needs, is not there.

    """
    config = load(CAConfig, path)
    if config.database is not None and config.database_dsn_file is not None:
        raise ConfigError(
            f"{path}: database and database_dsn_file are both there",
            hint="the ledger is in an SQLite file or in PostgreSQL",
        )
    if config.units_database is not None and config.units_dsn_file is not None:
        raise ConfigError(f"{path}: units_database and units_dsn_file are both there", hint="name one of them")
    if config.keep_units_days < config.keep_attempts_days:
        raise ConfigError(f"{path}: keep_units_days is below keep_attempts_days: attempts are of known units")
    several = config.front is not None and config.front.workers > 1
    if several and config.metrics is not None and config.metrics.folder is None:
        raise ConfigError(f"{path}: [metrics] has no folder", hint="several workers share their numbers in a folder")
    _check_lists(config, path)
    names = [profile.name for profile in config.profile]
    if len(set(names)) != len(names):
        raise ConfigError(f"{path}: two profiles have the same name", hint="orders refer to a profile by its name")
    _check_issuers(config, path)
    return config


def _check_lists(config: CAConfig, path: Path) -> None:
    list_names = [config.crl_name, *(issuer.crl_name for issuer in config.issuer)]
    if config.crl_partitions and None in list_names:
        raise ConfigError(f"{path}: crl_partitions without crl_name", hint="lists of parts are named by a URI")
    if len(set(list_names) - {None}) != len(list_names) - list_names.count(None):
        raise ConfigError(f"{path}: two lists have the same crl_name", hint="each issuer's list has its own name")


def _check_issuers(config: CAConfig, path: Path) -> None:
    issuers = [issuer.name for issuer in config.issuer]
    if len(set(issuers)) != len(issuers):
        raise ConfigError(f"{path}: two issuers have the same name", hint="profiles refer to an issuer by its name")
    for profile in config.profile:
        if profile.issuer and profile.issuer not in issuers:
            raise ConfigError(f"{path}: profile {profile.name}: there is no [[issuer]] {profile.issuer!r}")
        if profile.kind == "device-private" and config.ear is None:
            raise ConfigError(
                f"{path}: profile {profile.name}: a certificate of this kind carries a signed result",
                hint="name the verifier's key in [ear]",
            )
