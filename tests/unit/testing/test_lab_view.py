# SPDX-License-Identifier: Apache-2.0
"""What `birthmark lab show` prints."""

import json

import msgspec
import pytest

from birthmark.testing.lab.errors import LabError
from birthmark.testing.lab.record import Board, Lab
from birthmark.testing.lab.view import as_table, as_text, value_of

SPARE = Board(unit="spare", chip="apdu:unix=/lab/spare.sock", chip_serial="00", device_config="/lab/spare.toml")
LAB = Lab(
    directory="/lab",
    chip="none",
    hsm=False,
    ca_url="https://127.0.0.1:1",
    cloud_url="https://127.0.0.1:2",
    order="order-1",
    trust="/lab/trust.pem",
    chipmaker_trust="/lab/chipmaker.pem",
    ca_config="/lab/ca.toml",
    cloud_config="/lab/cloud.toml",
    rig_configs={"rig-a": "/lab/rig-a.toml"},
    rig_certificates={"rig-a": "/lab/rig-a.pem"},
    rig_keys={"rig-a": "/lab/rig-a.key"},
    officer_certificates={"approver": "/lab/approver.pem"},
    officer_keys={"approver": "/lab/approver.key"},
    officer_passphrase_file="/lab/officers.passphrase",  # noqa: S106 the name of a file
    rig_journals={"rig-a": "/lab/rig-a.sqlite"},
    panel="/lab/panel.toml",
    births="/lab/births.jsonl",
    boards=(),
    spare=SPARE,
    processes=(),
)


def test_text_is_printed_as_it_is_and_the_rest_as_json() -> None:
    assert value_of(LAB, "ca_url") == "https://127.0.0.1:1"
    assert value_of(LAB, "hsm") == "false"
    assert json.loads(value_of(LAB, "rig_keys")) == LAB.rig_keys
    assert json.loads(value_of(LAB, "spare")) == msgspec.to_builtins(SPARE)


@pytest.mark.parametrize("name", ["port", "path", "__class__", ""])
def test_a_name_that_lab_json_does_not_have_is_refused_with_those_that_it_has(name: str) -> None:
    with pytest.raises(LabError, match="ca_url, cloud_url") as refused:
        value_of(LAB, name)
    assert refused.value.finding == "input.lab"


def test_the_table_names_every_place_and_the_next_step() -> None:
    table = as_table(LAB)
    assert "https://127.0.0.1:1/.well-known/est/order-1" in table
    assert "next: birthmark line run --config /lab/rig-a.toml --panel /lab/panel.toml" in table
    assert msgspec.json.decode(as_text(LAB), type=Lab) == LAB
