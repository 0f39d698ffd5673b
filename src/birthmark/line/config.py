# SPDX-License-Identifier: Apache-2.0
"""`rig.toml` and `panel.toml`: what one rig is, and what lies in its fixture."""

import math
from enum import StrEnum
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from birthmark.core import config, ids
from birthmark.core.config import Config
from birthmark.core.errors import ConfigError, DecodeError
from birthmark.core.secret_files import demand_private
from birthmark.line.fixture.config import PowerSection
from birthmark.line.people import BADGE, Person, Role, read_pin_hash
from birthmark.line.periods import read_shifts
from birthmark.line.pressure import MESPolicy
from birthmark.line.units import LEASE_S
from birthmark.silicon.address import check_address

T = TypeVar("T", bound=Config)

POSITIONS_MAX = 64
GAP_MAX_MS = 1_000
NAME_MAX = 64
KEEP_DAYS_MAX = 36_500.0
_PIN_HINT = "make a PIN's hash with: birthmark line pin"


class WebhookSignature(StrEnum):
    """How a call of the webhook is signed."""

    HMAC = "hmac-sha256"
    ES256 = "es256"


class WebhookConfig(Config, frozen=True):
    """`[mes_webhook]`: where events are posted, whom to trust there, and with what to sign."""

    url: str
    trust: Path
    key_file: Path
    signature: WebhookSignature = WebhookSignature.HMAC
    timeout_s: float = 10.0


class FixturePlace(Config, frozen=True):
    """
    One place of the rig's fixture: where the chip of the board that lies there is reached, and what feeds it.

    Places that name the same `shares` are behind the same adapter: they take turns, call by call.
    """

    chip: str
    power: str = ""
    shares: str = ""


class ScannerSection(Config, frozen=True):
    """
    How the station's scanner was set up (`line.station.scan.Scanner`), and where it is.

    `device` is a character device of the rig; without it the scanner is a keyboard of the screen's computer, whose
    keys come at most `gap_ms` milliseconds apart.
    """

    prefix: str = ""
    suffix: str = ""
    badge_prefix: str = "BM:OP:"
    device: str | None = None
    gap_ms: int = 50


class PersonEntry(Config, frozen=True):
    """One `[[people]]`: a badge, and what its holder may do. A lead has the hash of a PIN (`line.people.PinHash`)."""

    badge: str
    role: Role
    pin: str = ""


class TraceabilitySection(Config, frozen=True):
    """`[traceability]`: where the rig stands and what holds the boards, as birth records are to have it."""

    site: str = ""
    line: str = ""
    station: str = ""
    fixture: str = ""


class RigConfig(Config, frozen=True):
    """One rig. `load_rig` makes relative paths absolute; they are relative to the file. Durations are in seconds."""

    rig: str
    operator: str
    recipe: Path
    ca_url: str
    trust: Path
    certificate: Path
    key: Path
    database: Path
    endorsements: Path
    units: Literal["ca"] | None = None
    units_database: Path | None = None
    units_dsn_file: Path | None = None
    lease_s: float = LEASE_S
    device_trust: Path | None = None
    result_signers: Path | None = None
    mes_file: Path | None = None
    mes_postgres_dsn_file: Path | None = None
    mes_cfx_file: Path | None = None
    mes_webhook: WebhookConfig | None = None
    mes_policy: MESPolicy = MESPolicy.HOLD_FLAGS
    mes_waiting_limit: int = 1_000
    mes_age_limit_s: float = 600.0
    keep_events: int = 200_000
    keep_events_days: float = 30.0
    keep_journal_days: float = 90.0
    keep_attempts_days: float = 90.0
    keep_units_days: float = 400.0
    shifts: tuple[str, ...] = ("00:00",)
    ca_timeout_s: float = 10.0
    hold_retry_s: float = 1.0
    hold_limit_s: float | None = None
    deliver_retry_s: float = 1.0
    deliver_wait_s: float = 5.0
    fixture: tuple[FixturePlace, ...] = ()
    scanner: ScannerSection = ScannerSection()
    power: PowerSection = PowerSection()
    traceability: TraceabilitySection = TraceabilitySection()
    people: tuple[PersonEntry, ...] = ()
    language: str = "en"
    station_users: tuple[str, ...] = ()


class Position(Config, frozen=True):
    """One place in the fixture: the label's unit serial and the chip's address. A bad board is skipped."""

    unit: str = ""
    chip: str = ""
    bad: bool = False


class PanelConfig(Config, frozen=True):
    """The positions in the order of the fixture; the first has number 1."""

    position: tuple[Position, ...]


def load_rig(path: Path) -> RigConfig:
    """Return the rig's configuration. Raises ConfigError also for senseless times."""
    rig = config.load(RigConfig, path)
    stores = [name for name in ("units", "units_database", "units_dsn_file") if getattr(rig, name) is not None]
    if len(stores) > 1:
        raise ConfigError(f"{path}: {' and '.join(stores)}", hint="name one: the rigs share one store")
    _check_people(rig, path)
    _check_names(rig, path)
    _check_fixture(rig, path)
    if not 1 <= rig.scanner.gap_ms <= GAP_MAX_MS:
        raise ConfigError(f"{path}: scanner.gap_ms", hint=f"1 to {GAP_MAX_MS} milliseconds")
    _check_times(rig, path)
    _check_limits(rig, path)
    folder = path.absolute().parent
    rig = msgspec.structs.replace(_absolute(rig, folder), power=rig.power.beside(folder))
    if rig.mes_webhook is None:
        return rig
    return msgspec.structs.replace(rig, mes_webhook=_absolute(rig.mes_webhook, folder))


def _check_times(rig: RigConfig, path: Path) -> None:
    keys = ("ca_timeout_s", "hold_retry_s", "deliver_retry_s", "lease_s", "mes_age_limit_s")
    times = {key: getattr(rig, key) for key in keys}
    if rig.mes_webhook:
        times["mes_webhook.timeout_s"] = rig.mes_webhook.timeout_s
    # Written so that "nan" fails as well.
    wrong = [key for key, time_s in times.items() if not 0 < time_s < math.inf]
    if not 0 <= rig.deliver_wait_s < math.inf:
        wrong.append("deliver_wait_s")
    if rig.hold_limit_s is not None and not rig.hold_limit_s > 0:
        wrong.append("hold_limit_s")
    if wrong:
        raise ConfigError(f"{path}: {wrong[0]} is not positive", hint="give the *_s keys in seconds, above zero")


def _check_limits(rig: RigConfig, path: Path) -> None:
    if rig.mes_waiting_limit < 1 or rig.keep_events < 1:
        raise ConfigError(f"{path}: mes_waiting_limit and keep_events are numbers of events, from 1 up")
    kept = (rig.keep_events_days, rig.keep_journal_days, rig.keep_attempts_days, rig.keep_units_days)
    if not all(0 < days <= KEEP_DAYS_MAX for days in kept):
        raise ConfigError(f"{path}: the keep_*_days are above 0, at most {KEEP_DAYS_MAX:g}")
    if rig.keep_units_days < rig.keep_attempts_days:
        raise ConfigError(f"{path}: keep_units_days is not below keep_attempts_days: attempts are of known units")
    try:
        read_shifts(rig.shifts)
    except DecodeError as error:
        raise ConfigError(f"{path}: shifts: {error.message}", hint=error.hint) from error


def _check_people(rig: RigConfig, path: Path) -> None:
    badges = [entry.badge for entry in rig.people]
    if len(set(badges)) < len(badges) or not all(map(BADGE.fullmatch, badges)):
        raise ConfigError(f"{path}: [[people]]", hint="each badge once: letters, digits and . _ -, at most 32")
    for entry in rig.people:
        if bool(entry.pin) is not (entry.role is Role.LEAD):
            raise ConfigError(f"{path}: {entry.badge}: a lead has a PIN, an operator none", hint=_PIN_HINT)


def _check_names(rig: RigConfig, path: Path) -> None:
    """Rig and operator stand in birth records, events, leases and tables: there they must be seen."""
    for key in ("rig", "operator"):
        name = getattr(rig, key)
        if not (name.strip() == name != "" and name.isprintable() and len(name) <= NAME_MAX):
            raise ConfigError(
                f"{path}: {key} = {name[:NAME_MAX]!r}", hint=f"a name of 1 to {NAME_MAX} printable characters"
            )


def _check_fixture(rig: RigConfig, path: Path) -> None:
    for number, place in enumerate(rig.fixture, 1):
        _check_address(f"{path}: [[fixture]] {number}", place.chip)
    _check_unique("chip", [place.chip for place in rig.fixture], path, "each place has its own chip address")


def _check_address(where: str, address: str) -> None:
    try:
        check_address(address)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error.message}", hint=error.hint) from error


def people_of(rig: RigConfig, path: Path) -> tuple[Person, ...]:
    """Return who works at a file's rig. Raises ConfigError: PINs' hashes that others may read, or that are none."""
    if any(entry.pin for entry in rig.people):
        demand_private(path)
    try:
        return tuple(
            Person(entry.badge, entry.role, read_pin_hash(entry.pin) if entry.pin else None) for entry in rig.people
        )
    except DecodeError as error:
        raise ConfigError(f"{path}: [[people]]: {error.message}", hint=_PIN_HINT) from error


def _absolute(part: T, folder: Path) -> T:
    values = ((name, getattr(part, name)) for name in part.__struct_fields__)
    return msgspec.structs.replace(part, **{name: folder / value for name, value in values if isinstance(value, Path)})


def load_panel(path: Path) -> tuple[Position, ...]:
    """Return the panel's positions. Raises ConfigError when a unit or a chip is missing, malformed or named twice."""
    positions = config.load(PanelConfig, path).position
    if not 1 <= len(positions) <= POSITIONS_MAX:
        raise ConfigError(f"{path}: {len(positions)} positions; a panel has 1 to {POSITIONS_MAX}")
    good = [position for position in positions if not position.bad]
    for position in good:
        _check_position(position, path)
    for what, names in (("unit", [p.unit for p in good]), ("chip", [p.chip for p in good])):
        _check_unique(what, names, path, "scan the panel again")
    return positions


def _check_position(position: Position, path: Path) -> None:
    try:
        ids.unit_serial(position.unit)
    except DecodeError as error:
        raise ConfigError(f"{path}: {error.message}", hint=error.hint) from error
    if not position.chip:
        raise ConfigError(
            f"{path}: {position.unit} has no chip address", hint='say chip = "apdu:unix=..." or bad = true'
        )
    _check_address(f"{path}: {position.unit}", position.chip)


def _check_unique(what: str, names: list[str], path: Path, hint: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(
            f"{path}: {what} {twice[0]} is in two positions",
            hint=hint,
            finding="line.panel.duplicate",
        )
