# SPDX-License-Identifier: Apache-2.0
"""While the root changes, `cacerts` serves the certificates that bridge the old root and the new one."""

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from birthmark.ca import wiring
from birthmark.ca.config import load_config
from birthmark.core.errors import ConfigError
from birthmark.est.messages import decode_body, read_certs_only
from birthmark.est.server import cacerts_answer
from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.pki.authorities import Authority, make_root
from birthmark.pki.keys.software import generate
from birthmark.pki.rollover import make_rollover
from support.ca_process import CAFiles


def served(files: CAFiles) -> tuple[x509.Certificate, ...]:
    return wiring._served(load_config(files.config), files.folder)


def with_bridge(files: CAFiles, *bridge: x509.Certificate) -> CAFiles:
    pem = b"".join(certificate.public_bytes(Encoding.PEM) for certificate in bridge)
    (files.folder / "rollover.pem").write_bytes(pem)
    files.config.write_text('rollover = "rollover.pem"\n' + files.config.read_text())
    return files


def old_root(files: CAFiles) -> Authority:
    return make_root("Acme Controls", "Root of 2016", generate(KeyAlgorithm.P256), files.now - timedelta(days=3650))


def test_cacerts_serves_the_chain_then_the_old_root_and_both_roll_over_certificates(tmp_path: Path) -> None:
    files = CAFiles(tmp_path)
    old, new = old_root(files), files.forge.root
    life = (files.now, files.now + timedelta(days=365))
    bridge = (old.certificate, make_rollover(new, old.certificate, life), make_rollover(old, new.certificate, life))
    chain = served(files)
    certificates = served(with_bridge(files, *bridge))
    assert certificates == (*chain, *bridge)
    assert set(read_certs_only(decode_body(cacerts_answer(certificates).body))) == set(certificates)


def test_a_root_that_nobody_bridges_to_is_not_served(tmp_path: Path) -> None:
    files = CAFiles(tmp_path)
    with pytest.raises(ConfigError) as refused:
        served(with_bridge(files, old_root(files).certificate))
    assert refused.value.finding == "pki.trust"
