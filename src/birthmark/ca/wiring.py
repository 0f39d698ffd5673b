# SPDX-License-Identifier: Apache-2.0
"""The issuing authority put together: the only place that chooses its store, its key and its clock."""

import logging
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType

from cryptography import x509

from birthmark.ca.acts import all_acts
from birthmark.ca.admin.administration import Administration
from birthmark.ca.admin.calls import Services
from birthmark.ca.admin.enrolment_http import EnrolmentHTTP
from birthmark.ca.admin.http import AdminHTTP
from birthmark.ca.admin.ledger import LedgerDesk
from birthmark.ca.anchors import AnchorDesk, Lineage, RootOffice, handed_out
from birthmark.ca.anchors_http import AnchorsHTTP
from birthmark.ca.config import CAConfig, FrontSection, load_config
from birthmark.ca.http import CAHTTP
from birthmark.ca.issuing.attributes import AttributeDesk
from birthmark.ca.issuing.grounds import keep_signers
from birthmark.ca.issuing.nonces import forget_nonces
from birthmark.ca.issuing.setup import chains_of, signers_of, terms_of
from birthmark.ca.issuing.signers import Signers
from birthmark.ca.keyring import Keyring
from birthmark.ca.life.lapses import write_lapses
from birthmark.ca.life.lifecycle import Lifecycle
from birthmark.ca.notices import NoticeBoard
from birthmark.ca.orders.book import OrderBook
from birthmark.ca.pace import Paced
from birthmark.ca.people.approvals import Approvals
from birthmark.ca.people.denials import doorkeeper
from birthmark.ca.policy import Policy
from birthmark.ca.ports import CAStore
from birthmark.ca.rigs.desk import RigDesk, RigIssuer
from birthmark.ca.rigs.setup import rig_issuer
from birthmark.ca.service import CA
from birthmark.ca.status.desk import SigningDesk, StatusIssuer
from birthmark.ca.status.http import StatusHTTP
from birthmark.ca.status.setup import published, status_desk, status_issuers
from birthmark.ca.transparency.bundle_making import Auditing
from birthmark.ca.transparency.configuration import Signing, signing_configuration
from birthmark.ca.transparency.http import LogHTTP
from birthmark.ca.transparency.in_force import announce_configuration, announce_policy
from birthmark.ca.transparency.log import Log
from birthmark.ca.transparency.policy_log import read_policy
from birthmark.ca.transparency.trust_log import announce_trust
from birthmark.ca.units.desk import UnitDesk
from birthmark.ca.units.ports import UnitStore
from birthmark.ca.units.reach import Reach
from birthmark.ca.watch.chores import Chore, doing
from birthmark.ca.watch.health import Health, HealthDesk
from birthmark.ca.watch.journal import begin_log
from birthmark.ca.watch.metrics_http import begin_anew, measured
from birthmark.ca.watch.observation import Observed
from birthmark.ca.watch.organs import IssuerOrgans, Organs
from birthmark.ca.watch.outages import Outages
from birthmark.core.attempts import KeepUnits
from birthmark.core.clock import system_clock
from birthmark.core.config import read_file
from birthmark.core.errors import ConfigError
from birthmark.core.ids import fingerprint
from birthmark.core.secret_files import read_secret
from birthmark.est.messages import EST_PREFIX
from birthmark.evidence.difference import PolicyDifference
from birthmark.evidence.endorsements import Endorsements, read_endorsements
from birthmark.net import asgi, tls
from birthmark.net.front import worker
from birthmark.net.front.description import FrontDescription
from birthmark.net.front.supervisor import serve_front
from birthmark.pki.errors import PathError
from birthmark.pki.paths import read_certificates, read_trust
from birthmark.pki.rollover import joined
from birthmark.stores.ca_sqlite import SQLiteCAStore
from birthmark.stores.units_sqlite import UnitsSQLite
from birthmark.tlog.errors import VerifierKeyRefused
from birthmark.tlog.keys import NotePrivateKey, Signer

__all__ = [
    "check_policy",
    "configured_store",
    "examine",
    "migrate",
    "open_ca",
    "open_roots",
    "serve",
    "serve_worker",
    "steward",
]

_LOG = logging.getLogger(__name__)

DEFAULT_DATABASE = "ca.sqlite"
LAPSES_EVERY_S = 10.0
FORGET_EVERY_S = 5.0
OUTAGES_EVERY_S = 1.0
SETTLE_EVERY_S = 1.0
PRESIGN_EVERY_S = 1.0
PRUNE_EVERY_S = 10.0
EXAMINE_MAX_S = 60.0
"""How long a person who asks beside the service waits."""
WORKER_MODULE = "birthmark.ca.worker"
STEWARD_MODULE = "birthmark.ca.steward"
REPEATABLE = (EST_PREFIX, "/v1/births")
"""Paths whose requests may come twice: the same request gets the same certificate, and a birth is taken once."""


def serve(config_path: Path) -> None:
    """
    Serve EST and the CA's own calls until SIGTERM; one line on stdout says where.

    Raises:
        ConfigError: a file that cannot be used.
        KeyStoreError: the issuing key cannot be had.
        ListenFailed: the address cannot be listened on.
        StoreError: the database cannot be used.
        FrontFailed: with `[front]`: Envoy or a worker did not start, or Envoy has ended.

    """
    config, folder = load_config(config_path), config_path.parent
    context = _tls_context(config, folder)
    begin_anew(config.metrics, folder)
    with _application(config, folder) as served:
        if config.front is None:
            with doing((*served.own_chores, *served.shared_chores)), published(config, served.status):
                signal.signal(signal.SIGHUP, _say_that_it_takes_a_restart)
                asgi.serve(served.app, config.host, config.port, context)
            return
    # All that the processes need was there, and is let go of again: each opens its own.
    path = str(config_path.absolute())
    serve_front(
        _front(config, config.front, folder),
        lambda listener: [sys.executable, "-m", WORKER_MODULE, path, str(listener)],
        {"steward": [sys.executable, "-m", STEWARD_MODULE, path]},
        reread=lambda: _reread(config_path),
    )


def _reread(config_path: Path) -> FrontDescription:
    """Return the front as ca.toml says now. What the workers alone need, the first one of them tries."""
    config, folder = load_config(config_path), config_path.parent
    if config.front is None:
        raise ConfigError(f"{config_path}: [front] is gone", hint="that changes at a restart")
    _tls_context(config, folder)
    return _front(config, config.front, folder)


def _tls_context(config: CAConfig, folder: Path) -> ssl.SSLContext:
    trust = read_file(folder / config.client_trust)
    read_trust(trust, str(folder / config.client_trust))  # names the file, where TLS would not
    return tls.server_context(folder / config.tls_certificate, folder / config.tls_key, trust)


def _say_that_it_takes_a_restart(*_signal: object) -> None:
    _LOG.warning("ca.reload: without [front] there is one process, which reads ca.toml when it starts: restart it")


def serve_worker(config_path: Path, listener: socket.socket) -> None:
    """Serve as one of the workers behind the front, until SIGTERM. Raises as `serve`, and FrontUntrusted."""
    config, folder = load_config(config_path), config_path.parent
    with _application(config, folder) as served, doing(served.own_chores):
        worker.serve_worker(served.app, listener, asgi.announce)


def steward(config_path: Path, until: Callable[[], object]) -> None:
    """Do what the workers behind the front share, until `until` returns. Raises as `serve`."""
    config, folder = load_config(config_path), config_path.parent
    with (
        _application(config, folder) as served,
        doing((*served.own_chores, *served.shared_chores)),
        published(config, served.status),
    ):
        asgi.announce("steward")
        until()


@dataclass(frozen=True, slots=True)
class _Served:
    """
    What a process of the authority can serve and do.

    `own_chores` are about what the process itself holds, `shared_chores` and `status` about the ledger: one process of
    a machine is enough for these.
    """

    app: asgi.ASGIApp
    status: StatusHTTP
    own_chores: tuple[Chore, ...]
    shared_chores: tuple[Chore, ...]


@contextmanager
def _application(config: CAConfig, folder: Path) -> Iterator[_Served]:
    """Open the store and the keys; yield what is to be served over them, and what is to be done beside."""
    decided = begin_log(config.log_format)
    endorsements, texts = read_policy(folder / config.endorsements, read_file)
    policy, outages = _policy(config, folder, endorsements), Outages(system_clock)
    with (
        Keyring(folder, outages.note) as keys,
        _stores(config, folder) as (issuing, store),
        _units(config, folder) as units,
        outages.kept(store),
        measured(config.metrics, folder, store, system_clock) as measures,
    ):
        sinks = (decided,) if measures.decided is None else (decided, measures.decided)
        announce_policy(store, endorsements.canonical, texts, system_clock)
        announce_trust(store, policy.trust, system_clock)
        signers, signer = signers_of(config, folder, keys), log_signer(config, keys)
        keep_signers(store, signers)
        issuers = status_issuers(config, folder, keys, signers)
        rigs = rig_issuer(config, folder, keys)
        text = signing_configuration(config, policy, _signing(signers, signer, issuers, rigs))
        policy = replace(policy, configuration=announce_configuration(store, text, system_clock))
        lineage = _lineage(config, folder, policy)
        board = NoticeBoard(issuing)
        policy = replace(policy, trust=replace(policy.trust, why_denied=doorkeeper(board.current)))
        ca = CA(issuing, signers, policy, system_clock, handed_out(policy.ca_chain, board.latest))
        desk = status_desk(config, store, issuers, policy, system_clock)
        status = StatusHTTP(desk, system_clock, config.status_max_age_s)
        life = Lifecycle(store, system_clock)
        log = Log(store, signer)
        approvals = Approvals(store, all_acts(policy, lineage), policy.trust, policy.authority, system_clock)
        services = Services(
            approvals,
            OrderBook(store, system_clock),
            LedgerDesk(store, system_clock),
            life,
            Auditing(store, log, system_clock),
            HealthDesk(_organs(issuing, policy, signers, signer, (issuers, desk), folder), system_clock),
            UnitDesk(units, Reach(store, system_clock)),
            RigDesk(rigs, store, policy.trust, policy.authority, system_clock),
        )
        admin = AdminHTTP(services, store, policy.trust, system_clock)
        anchors = AnchorsHTTP(AnchorDesk(store, policy.trust, system_clock))
        more = [
            *status.routes(),
            *anchors.routes(),
            *admin.routes(),
            *EnrolmentHTTP(services.rigs).routes(),
            *LogHTTP(log, policy.trust, system_clock).routes(),
        ]
        edge = CAHTTP(ca, AttributeDesk(store, policy, system_clock), measures.settled)
        app = Observed(Paced(edge.app(more)), system_clock, sinks)
        own = (Chore("outages", OUTAGES_EVERY_S, lambda: outages.write(store)),)
        shared = (
            *_ledger_chores(config, store, log, approvals, life),
            Chore("ocsp", PRESIGN_EVERY_S, desk.presign),
            *_unit_chores(config, units),
        )
        with board.followed():
            yield _Served(app, status, own, shared)


def _ledger_chores(
    config: CAConfig, store: CAStore, log: Log, approvals: Approvals, life: Lifecycle
) -> Iterator[Chore]:
    yield Chore("nonces", FORGET_EVERY_S, lambda: forget_nonces(store, system_clock))
    yield Chore("lapses", LAPSES_EVERY_S, lambda: write_lapses(store, system_clock))
    yield Chore("checkpoint", config.checkpoint_every_s, log.publish)
    yield Chore("proposals", LAPSES_EVERY_S, approvals.expire)
    yield Chore("denied groups", SETTLE_EVERY_S, life.settle)


def _signing(signers: Signers, signer: Signer, issuers: Mapping[str, StatusIssuer], rigs: RigIssuer | None) -> Signing:
    responders = {name: each.responder.certificate for name, each in issuers.items() if each.responder is not None}
    certificate = None if rigs is None else rigs.authority.certificate
    return Signing(signers=signers, log_key=signer.verifier.text, responders=responders, rigs=certificate)


def _organs(
    store: CAStore,
    policy: Policy,
    signers: Signers,
    log: Signer,
    status: tuple[Mapping[str, StatusIssuer], SigningDesk],
    folder: Path,
) -> Organs:
    issuers, desk = status

    def organs_of(name: str, issuer: StatusIssuer) -> IssuerOrgans:
        responder_key = None if issuer.responder is None else issuer.responder.key
        return IssuerOrgans(issuer.authority, lambda: desk.full_list(name).body, responder_key)

    return Organs(
        store=store,
        policy=policy,
        issuers={name: organs_of(name, issuer) for name, issuer in issuers.items()},
        log_key=log.key,
        result_key=None if signers.verifier is None else signers.verifier.key,
        folder=folder,
    )


def _front(config: CAConfig, section: FrontSection, folder: Path) -> FrontDescription:
    return FrontDescription(
        host=config.host,
        port=config.port,
        certificate=(folder / config.tls_certificate).absolute(),
        key=(folder / config.tls_key).absolute(),
        client_trust=(folder / config.client_trust).absolute(),
        workers=section.workers,
        repeatable=REPEATABLE,
    )


@contextmanager
def open_ca(config_path: Path) -> Iterator[Administration]:
    """Open the ledger for the administrator, beside the serving process and without its key. Raises as `serve`."""
    config = load_config(config_path)
    with configured_store(config, config_path.parent) as store:
        yield Administration(store, config.log.origin, system_clock)


def examine(config_path: Path) -> Health:
    """
    Try whether a certificate could be issued now with this configuration, beside a service that may run.

    Raises:
        ConfigError, KeyStoreError, StoreError: something cannot even be opened.

    """
    config, folder = load_config(config_path), config_path.parent
    policy = _policy(config, folder, read_endorsements(folder / config.endorsements, read_file))
    with Keyring(folder) as keys, configured_store(config, folder) as store:
        signers, signer = signers_of(config, folder, keys), log_signer(config, keys)
        issuers = status_issuers(config, folder, keys, signers)
        rigs = rig_issuer(config, folder, keys)
        text = signing_configuration(config, policy, _signing(signers, signer, issuers, rigs))
        desk = status_desk(config, store, issuers, policy, system_clock)
        organs = _organs(store, policy, signers, signer, (issuers, desk), folder)
        organs = replace(organs, unannounced=fingerprint(text))
        return HealthDesk(organs, system_clock).health(EXAMINE_MAX_S)


def check_policy(config_path: Path, candidate: Path) -> PolicyDifference:
    """
    Return what the appraisal policy in another file would change for the living fleet. Changes nothing.

    Raises:
        ConfigError, PathError: either policy cannot be used. StoreError: the database cannot be read.

    """
    old = read_endorsements(config_path.parent / load_config(config_path).endorsements, read_file)
    new = read_endorsements(candidate, read_file)
    with open_ca(config_path) as administration:
        return administration.policy_difference(old, new)


@contextmanager
def configured_store(config: CAConfig, folder: Path) -> Iterator[CAStore]:
    """Open the ledger that the configuration names, for whoever may read all of it. Raises ConfigError, StoreError."""
    if config.database_dsn_file is None:
        store: CAStore = SQLiteCAStore(folder / (config.database or DEFAULT_DATABASE))
    else:
        store = _postgres(config.database_dsn_file, folder, quick=False)
    with closing(store):
        yield store


@contextmanager
def _stores(config: CAConfig, folder: Path) -> Iterator[tuple[CAStore, CAStore]]:
    """
    Open the ledger for issuing, and for all else that a worker does.

    In PostgreSQL issuing has connections of its own: it never waits for one that something else holds. An SQLite file
    has one connection, whose transactions are short.
    """
    with configured_store(config, folder) as others:
        if config.database_dsn_file is None:
            yield others, others
            return
        with closing(_postgres(config.database_dsn_file, folder, quick=True)) as issuing:
            yield issuing, others


def _postgres(dsn_file: str, folder: Path, *, quick: bool) -> CAStore:
    # Imported here: the embedded default runs without PostgreSQL's driver.
    from birthmark.stores.ca_postgres import PostgresCAStore  # noqa: PLC0415
    from birthmark.stores.postgres_patience import ISSUING, READING  # noqa: PLC0415

    return PostgresCAStore(read_secret(folder / dsn_file).decode(), ISSUING if quick else READING)


def _unit_chores(config: CAConfig, units: UnitStore | None) -> tuple[Chore, ...]:
    if units is None:
        return ()
    attempts, records = (timedelta(days=days) for days in (config.keep_attempts_days, config.keep_units_days))

    def prune() -> None:
        at = system_clock()
        units.prune(KeepUnits(attempts_since=at - attempts, units_since=at - records))

    return (Chore("units", PRUNE_EVERY_S, prune),)


@contextmanager
def _units(config: CAConfig, folder: Path) -> Iterator[UnitStore | None]:
    """Open the rigs' records of units, apart from the ledger: a lease is renewed beside certificates, not between."""
    if config.units_database is not None:
        with closing(UnitsSQLite(folder / config.units_database)) as store:
            yield store
    elif config.units_dsn_file is not None:
        from birthmark.stores.units_postgres import UnitsPostgreSQL  # noqa: PLC0415 as in _postgres

        with closing(UnitsPostgreSQL(read_secret(folder / config.units_dsn_file).decode().strip())) as shared:
            yield shared
    else:
        yield None


def migrate(config_path: Path) -> tuple[str, ...]:
    """Bring the PostgreSQL schema up to date; return the names of the steps taken. Raises ConfigError, StoreError."""
    config = load_config(config_path)
    if config.database_dsn_file is None:
        raise ConfigError(f"{config_path}: an SQLite database is brought up to date when it is opened")
    from birthmark.stores import ca_postgres  # noqa: PLC0415 as in _postgres

    return ca_postgres.migrate(read_secret(config_path.parent / config.database_dsn_file).decode())


def _policy(config: CAConfig, folder: Path, endorsements: Endorsements) -> Policy:
    trust = read_trust(read_file(folder / config.client_trust), str(folder / config.client_trust))
    return Policy(
        trust=replace(trust, denied_keys=frozenset(config.denied_clients)),
        endorsements=endorsements,
        terms=MappingProxyType({section.name: terms_of(section) for section in config.profile}),
        organization=config.organization,
        authority=config.log.origin,
        ca_chain=_served(config, folder),
        nonce_expiry=timedelta(seconds=config.nonce_expiry_s),
        nonces_per_rig=config.nonces_per_rig,
        birth_grace=timedelta(seconds=config.birth_grace_s),
        rotation_overlap=timedelta(seconds=config.rotation_overlap_s),
    )


def _lineage(config: CAConfig, folder: Path, policy: Policy) -> Lineage:
    names = {"": config.issuing_certificate} | {each.name: each.certificate for each in config.issuer}
    issuers = {name: _certificates(folder, file)[0] for name, file in names.items()}
    issuing = tuple(issuers[name] for name in sorted({terms.issuer for terms in policy.terms.values()}))
    known = (*issuers.values(), *policy.ca_chain, *policy.trust.certs, *policy.trust.intermediates)
    return Lineage(issuing, known)


@contextmanager
def open_roots(config_path: Path) -> Iterator[RootOffice]:
    """Open the ledger to see how far a new root has come, without any key. Raises ConfigError, StoreError."""
    config, folder = load_config(config_path), config_path.parent
    policy = _policy(config, folder, read_endorsements(folder / config.endorsements, read_file))
    with configured_store(config, folder) as store:
        yield RootOffice(store, _lineage(config, folder, policy), system_clock)


def _served(config: CAConfig, folder: Path) -> tuple[x509.Certificate, ...]:
    """Return what `cacerts` answers: the chain, and while the root rolls over, the certificates that bridge it."""
    chain = chains_of(config, folder)
    bridge = _certificates(folder, config.rollover) if config.rollover else ()
    try:
        return joined(chain, bridge)
    except PathError as error:
        raise ConfigError(
            f"rollover: {error.message}", hint="name the bundle that the ceremony wrote", finding="pki.trust"
        ) from error


def log_signer(config: CAConfig, keys: Keyring) -> Signer:
    """Return who signs the log's checkpoints. Raises ConfigError, KeyStoreError."""
    key = keys.key(config.log.key)
    if not isinstance(key, NotePrivateKey):
        raise ConfigError("[log.key] is of a kind that signs no checkpoints", hint="make an Ed25519 or a P-256 key")
    signer = Signer(config.log.origin, key)
    try:
        _ = signer.verifier
    except VerifierKeyRefused as error:
        raise ConfigError(f"[log]: {error.message}", hint="mend origin, or make an Ed25519 or a P-256 key") from error
    return signer


def _certificates(folder: Path, name: str) -> tuple[x509.Certificate, ...]:
    return read_certificates(read_file(folder / name), str(folder / name))
