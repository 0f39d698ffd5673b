# SPDX-License-Identifier: Apache-2.0
"""What an agent makes of its files."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from birthmark.core.errors import ConfigError
from birthmark.device.config import DeviceConfig
from birthmark.device.wiring import _standards, open_agent
from birthmark.pki.authorities import Authority
from support.hierarchy import hierarchy

OURS, OTHERS = hierarchy(), hierarchy()


def pem(*authorities: Authority) -> bytes:
    return b"".join(authority.certificate.public_bytes(Encoding.PEM) for authority in authorities)


@pytest.fixture
def config(tmp_path: Path) -> DeviceConfig:
    (tmp_path / "trust.pem").write_bytes(pem(OURS.root))
    (tmp_path / "issuing.pem").write_bytes(pem(OURS.issuing, OTHERS.root))
    url = "https://127.0.0.1:1"
    return DeviceConfig(
        unit="BM-000001",
        product="controller",
        chip="apdu:unix=/nowhere.sock",
        ca_url=url,
        cloud_url=url,
        trust="trust.pem",
        issuing="issuing.pem",
    )


def test_a_root_beside_the_issuing_ca_is_no_trust_anchor(config: DeviceConfig, tmp_path: Path) -> None:
    trust = _standards(config, tmp_path, (tmp_path / "trust.pem").read_bytes()).trust
    assert trust.certs == (OURS.root.certificate,)
    assert trust.intermediates == (OURS.issuing.certificate, OTHERS.root.certificate)


def test_an_issuing_file_without_a_certificate_is_refused(config: DeviceConfig, tmp_path: Path) -> None:
    (tmp_path / "issuing.pem").write_text("to be sent later")
    with pytest.raises(ConfigError, match=r"issuing\.pem: no readable PEM certificate"):
        _standards(config, tmp_path, pem(OURS.root))


def test_a_unit_that_is_none_is_told_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "device.toml"
    keys = ("product", "chip", "ca_url", "cloud_url", "trust", "issuing")
    path.write_text('unit = "bm 1"\n' + "".join(f'{key} = "x"\n' for key in keys))
    with pytest.raises(ConfigError, match=r"device\.toml: 'bm 1' is not a unit serial"):
        open_agent(path)
