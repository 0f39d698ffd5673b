# SPDX-License-Identifier: Apache-2.0
"""A rig gets its certificate from the CA by itself, works with it, renews it, and loses it when two persons say so."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from birthmark.net.tls import client_context
from birthmark.net.transport import HTTPTransport
from birthmark.testing.lab.record import Lab
from support.labs import PROGRAM, birthmark, office_options, one_board_panel, run_panel, running_lab

RIG = "rig-a"
OTHER_ORDER = "order-of-one"
NOTICED_S = 10.0
PRIVATE = 0o600


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A lab whose rig-a has no certificate yet."""
    with running_lab(tmp_path / "lab", boards=2) as lab:
        for path in (key_of(lab), certificate_of(lab)):
            path.unlink()
        yield lab


def key_of(lab: Lab) -> Path:
    return Path(lab.rig_keys[RIG])


def certificate_of(lab: Lab) -> Path:
    return Path(lab.rig_certificates[RIG])


def decided(lab: Lab, *command: str | Path) -> None:
    """Have the security officer propose something, and the approver let it happen."""
    proposed = birthmark("ca", *command, "--reason", "a test", *office_options(lab))
    assert proposed.returncode == 0, proposed.stderr
    proposal = proposed.stdout.split()[0]
    options = office_options(lab, "approver")
    done = birthmark("ca", "proposal", "approve", proposal, "--yes", "--reason", "seen", *options)
    assert done.returncode == 0, done.stderr


def ticket(lab: Lab, *options: str, name: str = "ticket") -> Path:
    path = lab.path / name
    decided(lab, "credential", "ticket", RIG, "-o", path, *options)
    assert path.stat().st_mode & 0o777 == PRIVATE
    return path


def enrolled(lab: Lab, ticket: Path, config: Path | str | None = None) -> subprocess.CompletedProcess[str]:
    where = config or lab.rig_configs[RIG]
    return birthmark("line", "credential", "enrol", "--config", where, "--ticket-file", ticket, "--json")


def audited(lab: Lab, act: str) -> list[dict[str, str]]:
    done = birthmark("ca", "audit", "--config", lab.ca_config, "--json")
    return [row for row in map(json.loads, done.stdout.splitlines()) if row["act"] == act]


def test_a_rig_enrols_is_killed_goes_on_works_and_renews_itself(lab: Lab) -> None:
    slip = ticket(lab)
    (ca,) = [process for process in lab.processes if process.name == "ca"]
    # The CA stands still while the rig asks, and the rig is killed while it waits for the answer.
    os.kill(ca.pid, signal.SIGSTOP)
    command = [*PROGRAM, "line", "credential", "enrol", "--config", lab.rig_configs[RIG], "--ticket-file", str(slip)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as asking:
        deadline = time.monotonic() + NOTICED_S
        while not key_of(lab).exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.5)
        asking.kill()
    os.kill(ca.pid, signal.SIGCONT)
    key = key_of(lab).read_bytes()
    assert key_of(lab).stat().st_mode & 0o777 == PRIVATE
    assert not certificate_of(lab).exists()

    done = enrolled(lab, slip)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["orders"] is None
    assert key_of(lab).read_bytes() == key
    certificate = certificate_of(lab).read_bytes()
    certificate_of(lab).unlink()  # as when the power goes before it is written
    assert enrolled(lab, slip).returncode == 0
    assert certificate_of(lab).read_bytes() == certificate
    assert enrolled(lab, slip).returncode == 0  # and where all is there, nothing is done

    verdicts = run_panel(lab, RIG)
    assert {verdict["verdict"] for verdict in verdicts.values()} == {"PASS"}

    renewed = birthmark("line", "credential", "renew", "--config", lab.rig_configs[RIG])
    assert renewed.returncode == 0
    assert certificate_of(lab).read_bytes() == certificate  # it is not due
    renewed = birthmark("line", "credential", "renew", "--now", "--config", lab.rig_configs[RIG])
    assert renewed.returncode == 0, renewed.stderr
    assert certificate_of(lab).read_bytes() != certificate
    assert key_of(lab).read_bytes() != key
    assert key_of(lab).stat().st_mode & 0o777 == PRIVATE
    again = run_panel(lab, RIG)
    assert {verdict["verdict"] for verdict in again.values()} == {"PASS-ALREADY"}

    assert [row["finding"] for row in audited(lab, "rig.enrol")] == [""]
    assert [row["finding"] for row in audited(lab, "rig.renew")] == [""]
    assert birthmark("ca", "ledger", "check", "--config", lab.ca_config).returncode == 0


def test_a_renewal_that_was_cut_between_key_and_certificate_is_finished_by_the_next_panel(lab: Lab) -> None:
    assert enrolled(lab, ticket(lab)).returncode == 0
    before = {path: path.read_bytes() for path in (key_of(lab), certificate_of(lab))}
    command = ("line", "credential", "renew", "--now", "--config", lab.rig_configs[RIG])
    assert birthmark(*command).returncode == 0
    # Put back what a crash between the two renames leaves: the next key in its place, the next certificate beside.
    shutil.copy(certificate_of(lab), certificate_of(lab).with_name(certificate_of(lab).name + ".next"))
    certificate_of(lab).write_bytes(before[certificate_of(lab)])
    verdicts = run_panel(lab, RIG, one_board_panel(lab))
    assert {verdict["verdict"] for verdict in verdicts.values()} == {"PASS"}
    assert certificate_of(lab).read_bytes() != before[certificate_of(lab)]
    assert key_of(lab).read_bytes() != before[key_of(lab)]


def test_a_second_rig_gets_nothing_for_a_used_ticket_and_it_stands_in_the_log(lab: Lab) -> None:
    slip = ticket(lab)
    assert enrolled(lab, slip).returncode == 0
    twin = lab.path / "twin.toml"
    text = Path(lab.rig_configs[RIG]).read_text()
    twin.write_text(text.replace("pki/rig-a.", "pki/twin."))
    twin.chmod(PRIVATE)
    refused = enrolled(lab, slip, twin)
    assert refused.returncode == 1
    assert refused.stderr.startswith("birthmark: ca.rig.ticket-used: ")
    assert not (lab.path / "pki/twin.pem").exists()
    other = enrolled(lab, slip, lab.rig_configs["rig-b"])  # it has a certificate: nothing is asked
    assert other.returncode == 0
    assert [row["finding"] for row in audited(lab, "rig.enrol")] == ["", "ca.rig.ticket-used"]


def test_a_certificate_for_some_orders_is_refused_under_others(lab: Lab) -> None:
    done = enrolled(lab, ticket(lab, "--order", OTHER_ORDER))
    assert json.loads(done.stdout)["orders"] == [OTHER_ORDER]
    panel = one_board_panel(lab)
    (verdict,) = run_panel(lab, RIG, panel).values()
    assert (verdict["verdict"], verdict["finding"]) == ("FAIL", "ca.1.order-scope")
    recipe = lab.path / "recipe.toml"
    recipe.write_text(recipe.read_text().replace(f'order = "{lab.order}"', f'order = "{OTHER_ORDER}"'))
    (verdict,) = run_panel(lab, RIG, panel).values()
    assert verdict["verdict"] in {"PASS", "RESUMED"}


def test_a_denied_rig_is_refused_at_the_next_request_also_on_a_kept_connection(lab: Lab) -> None:
    slip = ticket(lab)
    assert enrolled(lab, slip).returncode == 0
    context = client_context(Path(lab.trust).read_bytes(), certificate_of(lab), key_of(lab))
    kept = HTTPTransport(lab.ca_url, context)

    def asked() -> tuple[int, ...]:
        paths = ("/v1/rigs/units?units=BM-000001", f"/v1/certificates/{'ab' * 32}")
        return tuple(kept.request("GET", path).status for path in paths)

    assert asked() == (200, 404)
    opened = kept.handshake_bytes()
    decided(lab, "client", "deny", f"rig:{RIG}")
    deadline = time.monotonic() + NOTICED_S
    while asked() != (403, 403):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert kept.handshake_bytes() == opened
    kept.close()
    certificate_of(lab).unlink()
    refused = enrolled(lab, slip)
    assert refused.stderr.startswith("birthmark: ca.rig.denied: ")


def test_what_the_rig_holds_is_a_rigs_certificate_under_the_ca_of_rigs(lab: Lab) -> None:
    assert enrolled(lab, ticket(lab)).returncode == 0
    leaf, above = x509.load_pem_x509_certificates(certificate_of(lab).read_bytes())
    leaf.verify_directly_issued_by(above)
    shown = birthmark("line", "credential", "show", "--config", lab.rig_configs[RIG])
    assert f"CN={RIG}" in shown.stdout
    assert "all that name it" in shown.stdout
