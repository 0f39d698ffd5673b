# SPDX-License-Identifier: Apache-2.0
"""ca.toml, order files and what they name: used as written, or refused with the reason before anything starts."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from birthmark.ca import wiring
from birthmark.ca.config import TokenKey, load_config
from birthmark.ca.orders.documents import order_of, read_order
from birthmark.core.errors import BirthmarkError, ConfigError
from birthmark.core.issuance import ChipID
from birthmark.testing.forge import new_key
from support.ca_process import CAFiles


@pytest.fixture
def files(tmp_path: Path) -> CAFiles:
    return CAFiles(tmp_path)


def test_defaults_are_those_of_the_reference(files: CAFiles) -> None:
    config = load_config(files.config)
    assert (config.host, config.port) == ("127.0.0.1", 0)
    assert (config.database, config.database_dsn_file) == (None, None)
    assert (config.nonce_expiry_s, config.birth_grace_s) == (60, 86_400)
    assert (config.rotation_overlap_s, config.crl_next_update_s) == (604_800, 3_600)
    assert config.profile[0].validity_days == 1_825


def test_an_hsm_key_is_named_by_module_token_label_and_pin_file(files: CAFiles) -> None:
    text = files.config.read_text()
    begin, end = text.index("[issuing_key]"), text.index("[log]")
    key = '[issuing_key]\nkind = "pkcs11"\nmodule = "/m.so"\ntoken = "CA"\nlabel = "issuing"\npin_file = "pin"\n\n'
    files.config.write_text(text[:begin] + key + text[end:])
    assert load_config(files.config).issuing_key == TokenKey(
        module="/m.so",
        token="CA",  # noqa: S106 the name of a token
        label="issuing",
        pin_file="pin",
    )


def changed(files: CAFiles, old: str, new: str) -> None:
    text = files.config.read_text()
    assert old in text
    files.config.write_text(text.replace(old, new))


def unknown_key(files: CAFiles) -> None:
    changed(files, "organization", "oganization")


NEXT = """
[[issuer]]
name = "next"
certificate = "issuing.pem"
key = { kind = "software", file = "issuing.key", passphrase_file = "passphrase" }
"""


def parts_of_another_issuer_s_list_without_a_name(files: CAFiles) -> None:
    changed(files, "organization", 'crl_partitions = 4\ncrl_name = "http://crl.example/a"\norganization')
    files.config.write_text(files.config.read_text() + NEXT)


def two_lists_of_one_name(files: CAFiles) -> None:
    changed(files, "organization", 'crl_name = "http://crl.example/a"\norganization')
    files.config.write_text(f'{files.config.read_text()}{NEXT}crl_name = "http://crl.example/a"\n')


def unknown_algorithm(files: CAFiles) -> None:
    changed(files, '"P-256"', '"RSA-1024"')


def nonce_of_no_time(files: CAFiles) -> None:
    changed(files, "[issuing_key]", "nonce_expiry_s = 0\n[issuing_key]")


def nonce_for_good(files: CAFiles) -> None:
    changed(files, "[issuing_key]", "nonce_expiry_s = 1000000000\n[issuing_key]")


def births_that_nobody_waits_for(files: CAFiles) -> None:
    changed(files, "[issuing_key]", "birth_grace_s = 1000000000\n[issuing_key]")


def two_profiles_of_one_name(files: CAFiles) -> None:
    text = files.config.read_text()
    files.config.write_text(text + text[text.index("[[profile]]") :])


def no_such_file(files: CAFiles) -> None:
    changed(files, "chain.pem", "chain-of-yesterday.pem")


def passphrase_for_everyone(files: CAFiles) -> None:
    files.folder.joinpath("passphrase").chmod(0o644)


def empty_passphrase(files: CAFiles) -> None:
    files.folder.joinpath("passphrase").write_bytes(b"\n")


def wrong_passphrase(files: CAFiles) -> None:
    files.folder.joinpath("passphrase").write_bytes(b"not it")


def key_of_another_ca(files: CAFiles) -> None:
    changed(files, '"issuing.pem"', '"root.pem"')


def two_issuing_certificates(files: CAFiles) -> None:
    changed(files, 'issuing_certificate = "issuing.pem"', 'issuing_certificate = "chain.pem"')


def chain_that_is_no_pem(files: CAFiles) -> None:
    files.folder.joinpath("chain.pem").write_text("nothing")


def trust_without_a_root(files: CAFiles) -> None:
    changed(files, "trust.pem", "issuing.pem")


def tls_key_of_another_certificate(files: CAFiles) -> None:
    files.identity("other", new_key())
    changed(files, "server.key", "other.key")


def database_that_is_none(files: CAFiles) -> None:
    files.folder.joinpath("ca.sqlite").write_bytes(b"not a database" * 1000)
    for suffix in ("-wal", "-shm"):
        files.folder.joinpath(f"ca.sqlite{suffix}").unlink(missing_ok=True)


BROKEN: tuple[tuple[Callable[[CAFiles], None], str], ...] = (
    (unknown_key, "config.invalid"),
    (unknown_algorithm, "config.invalid"),
    (parts_of_another_issuer_s_list_without_a_name, "config.invalid"),
    (two_lists_of_one_name, "config.invalid"),
    (nonce_of_no_time, "config.invalid"),
    (nonce_for_good, "config.invalid"),
    (births_that_nobody_waits_for, "config.invalid"),
    (two_profiles_of_one_name, "config.invalid"),
    (no_such_file, "config.invalid"),
    (passphrase_for_everyone, "config.invalid"),
    (empty_passphrase, "config.invalid"),
    (wrong_passphrase, "key.passphrase"),
    (key_of_another_ca, "config.invalid"),
    (two_issuing_certificates, "config.invalid"),
    (chain_that_is_no_pem, "config.invalid"),
    (trust_without_a_root, "pki.trust"),
    (tls_key_of_another_certificate, "net.tls-files"),
    (database_that_is_none, "store.foreign"),
)


@pytest.mark.parametrize(("damage", "finding"), BROKEN, ids=[row[0].__name__ for row in BROKEN])
def test_a_ca_with_a_broken_set_up_does_not_start(
    files: CAFiles, damage: Callable[[CAFiles], None], finding: str
) -> None:
    damage(files)
    with pytest.raises(BirthmarkError) as refused:
        wiring.serve(files.config)
    assert refused.value.finding == finding
    assert "only for this test" not in str(refused.value)


def test_the_administrator_needs_no_issuing_key(files: CAFiles) -> None:
    for secret in ("issuing.key", "passphrase"):
        files.folder.joinpath(secret).unlink()
    with wiring.open_ca(files.config) as authority:
        authority.deny_chip(ChipID("Smith", "0123456789ABCDEF"), "lost")
        assert [row["act"] for row in authority.audit()] == ["propose", "approve", "order.create", "deny"]


def test_an_order_file_becomes_an_order(files: CAFiles) -> None:
    order = order_of(*read_order(files.folder / "order.toml"))
    assert (order.id, order.quantity, order.rigs) == ("order-1", 100, ("rig-a", "rig-b"))
    assert order.not_before < datetime.now(UTC) < order.not_after
    assert (order.approved_at, order.closed_at) == (None, None)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"order-1"', '"Order 1"'),
        ("quantity = 100", "quantity = 0"),
        ("quantity = 100", "quantity = 100.5"),
        ('["rig-a", "rig-b"]', "[]"),
        ("not_after", "not_afterwards"),
        ("+00:00", ""),
        ("not_after = 2", "not_after = 1"),
        ('profile = "device-p256"', ""),
    ],
)
def test_an_order_file_that_says_nonsense_is_refused(files: CAFiles, old: str, new: str) -> None:
    path = files.folder / "order.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ConfigError, match=r"order\.toml"):
        read_order(path)


def test_the_ledger_is_in_one_place(files: CAFiles) -> None:
    text = files.config.read_text()
    files.config.write_text(f'database = "ca.sqlite"\ndatabase_dsn_file = "dsn"\n{text}')
    with pytest.raises(ConfigError, match="both there"):
        load_config(files.config)
