# SPDX-License-Identifier: Apache-2.0
"""
What a token offers, and whether that is enough. No PIN is needed to ask.

PKCS#11 2.40 has no flag for a FIPS mode: model and firmware are what a validation certificate is looked up by.
"""

from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from birthmark.pki.algorithms import KeyAlgorithm
from birthmark.pki.keys.pkcs11.meanings import explained
from birthmark.pki.keys.pkcs11.module import Module, enter, leave, python_pkcs11
from birthmark.pki.keys.pkcs11.objects import RECIPES

if TYPE_CHECKING:
    import pkcs11

_FLAGS: Final = (
    "RNG",
    "WRITE_PROTECTED",
    "LOGIN_REQUIRED",
    "USER_PIN_INITIALIZED",
    "PROTECTED_AUTHENTICATION_PATH",
    "TOKEN_INITIALIZED",
    "USER_PIN_COUNT_LOW",
    "USER_PIN_FINAL_TRY",
    "USER_PIN_LOCKED",
)
_USES: Final = ("HW", "SIGN", "VERIFY", "GENERATE_KEY_PAIR")


@dataclass(frozen=True, slots=True)
class Offer:
    """One mechanism, by its name without CKM_. Key sizes are in bits, as the token says them; 0: it says none."""

    name: str
    key_bits_min: int
    key_bits_max: int
    uses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a token says about itself. Sessions: 0 is no limit, None not said."""

    module: str
    library: str
    library_version: str
    cryptoki_version: str
    label: str
    serial: str
    manufacturer: str
    model: str
    firmware_version: str
    hardware_version: str
    flags: tuple[str, ...]
    sessions_max: int | None
    sessions_open: int | None
    mechanisms: tuple[Offer, ...]


@dataclass(frozen=True, slots=True)
class Need:
    """What a kind of key needs. `missing` is what the token does not offer; `advice`, what to do if it is not met."""

    algorithm: KeyAlgorithm
    mechanisms: tuple[str, ...]
    missing: tuple[str, ...]
    advice: str

    @property
    def is_met(self) -> bool:
        """Whether such a key can live in this token."""
        return not self.advice


class _Visitor:
    """Who asks a module something and has no sessions in it."""

    def vacate(self) -> bool:
        """Agree: nobody is inside while the module is asked, because it is asked while nobody changes it."""
        return True

    def reoccupy(self) -> None:
        """Nobody waits to come in."""

    def evicted(self) -> None:
        """There is no session to lose."""


def probe(module_path: Path, label: str) -> Capabilities:
    """
    Ask a token what it offers.

    Raises:
        TokenMissing: no module, no such token, or two of that label.
        TokenFailed: it does not answer.

    """
    visitor = _Visitor()
    module = enter(module_path, visitor)
    try:
        with module.changing:
            return _asked(module, module_path, label)
    except RuntimeError as error:
        raise explained(error, f"token {label!r}") from error
    finally:
        leave(module, visitor, inside=False)


def needs(capabilities: Capabilities) -> tuple[Need, ...]:
    """Return what each kind of key needs of the token, and what is missing."""
    return tuple(_need(capabilities, algorithm) for algorithm in KeyAlgorithm)


def _need(capabilities: Capabilities, algorithm: KeyAlgorithm) -> Need:
    how = RECIPES.get(algorithm)
    names = (how.generation, how.signature) if how else _PQ_MECHANISMS
    offers = {offer.name: offer for offer in capabilities.mechanisms}
    missing = tuple(name for name in names if name not in offers or not _fits(offers[name], algorithm))
    return Need(algorithm, names, missing, "" if how and not missing else _ADVICE[algorithm])


def _fits(offer: Offer, algorithm: KeyAlgorithm) -> bool:
    return any(_allows(offer, bits) for bits in _BITS.get(algorithm, ())) or algorithm not in _BITS


def _allows(offer: Offer, bits: int) -> bool:
    return offer.key_bits_min <= bits and (bits <= offer.key_bits_max or not offer.key_bits_max)


# Tokens differ in how long they say an Ed25519 key is.
_BITS: Final = MappingProxyType(
    {KeyAlgorithm.P256: (256,), KeyAlgorithm.P384: (384,), KeyAlgorithm.ED25519: (255, 256)}
)
_PQ_MECHANISMS: Final = ("ML_DSA_KEY_PAIR_GEN", "ML_DSA")
_PQ_ADVICE: Final = (
    "not used through PKCS#11 yet (it takes a token with PKCS#11 3.2): keep this key in an encrypted file"
)
_ADVICE: Final = MappingProxyType(
    {
        KeyAlgorithm.P256: "without it no issuing key can live here: enable ECDSA in the HSM's policy, or take another",
        KeyAlgorithm.P384: "use P-256 for the root and the issuing CA, or enable the curve in the HSM's policy",
        KeyAlgorithm.ED25519: "sign the ledger's checkpoints with P-256",
        KeyAlgorithm.MLDSA44: _PQ_ADVICE,
        KeyAlgorithm.MLDSA65: _PQ_ADVICE,
        KeyAlgorithm.MLDSA87: _PQ_ADVICE,
    }
)


def _asked(module: Module, path: Path, label: str) -> Capabilities:
    token = module.library.get_token(token_label=label)
    sessions_max, sessions_open = module.session_counts(token.slot.slot_id)
    return Capabilities(
        module=str(path),
        library=module.library.library_description,
        library_version=_version(module.library.library_version),
        cryptoki_version=_version(module.library.cryptoki_version),
        label=token.label,
        serial=token.serial.decode("ascii", "replace"),
        manufacturer=token.manufacturer_id,
        model=token.model,
        firmware_version=_version(token.firmware_version),
        hardware_version=_version(token.hardware_version),
        flags=_names(python_pkcs11().TokenFlag, int(token.flags), _FLAGS),
        sessions_max=sessions_max,
        sessions_open=sessions_open,
        mechanisms=_offers(token),
    )


def _offers(token: "pkcs11.Token") -> tuple[Offer, ...]:
    found = (_offer(token, mechanism) for mechanism in token.slot.get_mechanisms())
    return tuple(sorted((offer for offer in found if offer), key=lambda offer: offer.name))


def _offer(token: "pkcs11.Token", mechanism: Any) -> Offer | None:
    """None: the token lists it and then does not know it, as p11-kit does with what it does not let through."""
    try:
        info = token.slot.get_mechanism_info(mechanism)
    except python_pkcs11().MechanismInvalid:
        return None
    name = getattr(mechanism, "name", None) or f"0x{int(mechanism):x}"
    flags = _names(python_pkcs11().MechanismFlag, int(info.flags), _USES)
    return Offer(str(name), int(info.min_key_length or 0), int(info.max_key_length or 0), flags)


def _names(flags: Any, value: int, wanted: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in wanted if value & int(flags[name]))


def _version(pair: tuple[int, int]) -> str:
    return f"{pair[0]}.{pair[1]}"
