# SPDX-License-Identifier: Apache-2.0
"""`birthmark line serve`: a rig's station behind its page, until it is told to end."""

from pathlib import Path

from birthmark.line.ports import Event
from birthmark.line.wiring import opened_station
from birthmark.net.asgi import announce, serve_loopback
from birthmark.web.station.app import station_app
from birthmark.web.users import uids


def serve_station(config_path: Path, port: int) -> None:
    """
    Run a rig's station and its page on loopback until SIGTERM or SIGINT; a panel that runs then is finished.

    One line on stdout says where the page is: {"ready": url}.

    Raises what `line.wiring.opened_station` does, ConfigError for a user that is not there, and ListenFailed.
    """
    with opened_station(config_path, _nobody) as station:
        serve_loopback(station_app(station, uids(station.rig.station_users)), port, announce)


def _nobody(_event: Event) -> None:
    """The floor hears every event by itself; nobody else listens."""
