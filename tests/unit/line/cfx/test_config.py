# SPDX-License-Identifier: Apache-2.0
import time
from pathlib import Path

import pytest

from birthmark.core.clock import system_clock
from birthmark.core.errors import ConfigError
from birthmark.line.cfx.config import CFXConfig, load_cfx
from birthmark.line.cfx.joining import interlock

GOOD = 'url = "amqps://mq.example:5671"\nhandle = "Acme.Rig.A"\naddress = "/exchange/cfx"\ntrust = "trust.pem"\n'
CLEAR = GOOD.replace("amqps", "amqp")
ASKING = '[interlock]\nrequest_address = "/amq/queue/mes"\nunanswered = "stop"\n'


def load(folder: Path, text: str) -> CFXConfig:
    path = folder / "cfx.toml"
    path.write_text(text)
    return load_cfx(path)


def test_paths_are_relative_to_the_file_and_the_rest_has_defaults(tmp_path: Path) -> None:
    loaded = load(tmp_path, GOOD)
    assert loaded.trust == tmp_path / "trust.pem"
    assert (loaded.heartbeat_s, loaded.confirm_timeout_s, loaded.retry_s, loaded.interlock) == (60.0, 5.0, 5.0, None)


def test_an_unencrypted_connection_has_to_be_asked_for(tmp_path: Path) -> None:
    assert load(tmp_path, "unsafe_cleartext = true\n" + CLEAR).unsafe_cleartext


def test_nobody_is_asked_unless_somebody_is_named(tmp_path: Path) -> None:
    text = "unsafe_cleartext = true\n" + CLEAR
    assert interlock(load(tmp_path, text), system_clock, time.monotonic) is None
    assert interlock(load(tmp_path, text + ASKING), system_clock, time.monotonic) is not None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (CLEAR, "not encrypted"),
        (GOOD.replace('trust = "trust.pem"\n', ""), "without trust"),
        (GOOD.replace("amqps:", "http:"), "is not amqps://"),
        (GOOD.replace("mq.example:5671", "mq.example:5671/x"), "is not amqps://"),
        (GOOD.replace("mq.example", "me:secret@mq.example"), "is not amqps://"),
        (GOOD.replace("5671", "port"), "is no URL"),
        (GOOD.replace("Acme.Rig.A", "rig"), "no CFX handle"),
        (GOOD.replace("Acme.Rig.A", "Acme.Rig A"), "no CFX handle"),
        (GOOD.replace("Acme.Rig.A", "Acme." + "A" * 128), "no CFX handle"),
        (GOOD + 'user = "me"\n', "belong together"),
        (GOOD + 'password_file = "p"\n', "belong together"),
        (GOOD + "heartbeat_s = 301\n", "out of its range"),
        (GOOD + "heartbeat_s = 0.5\n", "out of its range"),
        (GOOD + "confirm_timeout_s = 0\n", "out of its range"),
        (GOOD + "retry_s = nan\n", "out of its range"),
        (GOOD + ASKING + "timeout_s = -1\n", "out of its range"),
        (GOOD + ASKING + 'url = "amqp://mes:5672"\n', "not encrypted"),
        (GOOD + ASKING.replace("stop", "perhaps"), "unanswered"),
        (GOOD + ASKING + 'validations = ["Everything"]\n', "validations"),
        (GOOD + "colour = 1\n", "colour"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as refused:
        load(tmp_path, text)
    assert "secret" not in str(refused.value)
