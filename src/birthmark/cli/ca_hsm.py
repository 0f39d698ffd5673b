# SPDX-License-Identifier: Apache-2.0
"""`birthmark ca hsm`: what the CA's token offers, and how its keys are kept."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from birthmark.ca.config import TokenKey
    from birthmark.pki.keys.pkcs11.policy import KeyFacts, PolicyFinding
    from birthmark.pki.keys.pkcs11.probe import Capabilities, Need

_CONFIG = click.option(
    "--config", type=click.Path(path_type=Path), required=True, metavar="FILE", help="The service's ca.toml."
)
_JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")


@click.group(short_help="Look at the CA's tokens and at the keys in them.")
def hsm() -> None:
    """Look at the tokens that ca.toml names, and at the keys in them."""


@hsm.command(short_help="Print what the tokens offer, and if it is enough.")
@_CONFIG
@_JSON
def probe(config: Path, *, as_json: bool) -> None:
    """Print what the CA's tokens offer, and whether that is enough. No PIN is used."""
    from birthmark.pki.keys.pkcs11.probe import needs
    from birthmark.pki.keys.pkcs11.probe import probe as ask

    for section in _tokens(config):
        found = ask(config.parent / section.module, section.token)
        wanted = needs(found)
        _print((_probe_object(found, wanted),) if as_json else _probe_lines(found, wanted))


@hsm.command(short_help="Print the private keys, with the policy's verdict.")
@_CONFIG
@_JSON
def keys(config: Path, *, as_json: bool) -> None:
    """Print the private keys in the CA's tokens, each with the key policy's verdict."""
    from birthmark.core.secret_files import read_secret
    from birthmark.pki.errors import KeyPolicyRefused
    from birthmark.pki.keys.pkcs11 import Token
    from birthmark.pki.keys.pkcs11.objects import findings_of

    refused = 0
    for section in _tokens(config):
        pin = read_secret(config.parent / section.pin_file)
        with Token.open(config.parent / section.module, section.token, pin) as token:
            kept = token.keys()
        judged = [(facts, findings_of(facts)) for facts in kept]
        refused += sum(bool(found) for _, found in judged)
        for facts, found in judged:
            _print((_key_object(section.token, facts, found),) if as_json else _key_lines(section.token, facts, found))
    if refused:
        raise KeyPolicyRefused(f"{refused} of the keys are not kept as the key policy wants")


def _tokens(config: Path) -> "Iterator[TokenKey]":
    """Return a section for each token of the configuration, whichever of its keys it holds."""
    from birthmark.ca.config import TokenKey, load_config
    from birthmark.core.errors import ConfigError

    loaded = load_config(config)
    sections = [key for key in (loaded.issuing_key, loaded.log.key) if isinstance(key, TokenKey)]
    if not sections:
        raise ConfigError(f"{config}: no key is in a token", hint='give it kind = "pkcs11"')
    yield from {(section.module, section.token): section for section in reversed(sections)}.values()


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)


def _probe_lines(found: "Capabilities", wanted: "tuple[Need, ...]") -> Iterator[str]:
    yield f"token     {found.label}, serial {found.serial}: {found.manufacturer} {found.model}"
    yield f"versions  firmware {found.firmware_version}, hardware {found.hardware_version}"
    yield f"module    {found.module}: {found.library} {found.library_version}, PKCS#11 {found.cryptoki_version}"
    yield f"sessions  {_limit(found.sessions_max)}"
    yield f"flags     {', '.join(found.flags)}"
    yield "FIPS mode PKCS#11 2.40 does not show it: look model and firmware up in the list of validated modules"
    yield f"offers    {len(found.mechanisms)} mechanisms; --json lists them"
    for need in wanted:
        verdict = "OK" if need.is_met else "missing"
        advice = f": {need.advice}" if need.advice else ""
        yield f"{need.algorithm.value:<9} {verdict:<8} {', '.join(need.mechanisms)}{advice}"


def _limit(sessions: int | None) -> str:
    return "the token does not say how many" if sessions is None else f"at most {sessions}" if sessions else "no limit"


def _probe_object(found: "Capabilities", wanted: "tuple[Need, ...]") -> str:
    listed = [{**asdict(need), "algorithm": need.algorithm.value, "met": need.is_met} for need in wanted]
    return json.dumps({**asdict(found), "needs": listed})


def _key_lines(token: str, facts: "KeyFacts", found: "tuple[PolicyFinding, ...]") -> Iterator[str]:
    algorithm = facts.algorithm.value if facts.algorithm else "of an unknown kind"
    yield f"{token}: {facts.label}  {algorithm}  id {facts.key_id.hex()}  {'REFUSED' if found else 'OK'}"
    for name, value in facts.attributes.items():
        yield f"  CKA_{name} {str(value).upper()}"
    if facts.mechanisms is not None:
        yield f"  CKA_ALLOWED_MECHANISMS {', '.join(facts.mechanisms)}"
    for one in found:
        yield f"  {one.finding}: {one.text}"


def _key_object(token: str, facts: "KeyFacts", found: "tuple[PolicyFinding, ...]") -> str:
    said: dict[str, Any] = {
        "token": token,
        "label": facts.label,
        "id": facts.key_id.hex(),
        "algorithm": facts.algorithm.value if facts.algorithm else None,
        "attributes": dict(facts.attributes),
        "allowed_mechanisms": facts.mechanisms,
        "findings": [asdict(one) for one in found],
    }
    return json.dumps(said)
