# SPDX-License-Identifier: Apache-2.0
"""The words of the station's page: one file per language, all with the same keys."""

from importlib.resources import files
from typing import Any, Final

import msgspec

from birthmark.core.errors import ConfigError

_FOLDER: Final = files("birthmark.web.station") / "languages"
_SUFFIX: Final = ".json"


class Words(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    A language. `advice` says what to do about a finding; `chip.*` stands for all that begin so, `*` for the rest.

    `{names}` in a text are filled in by the page.
    """

    language: str
    name: str
    words: dict[str, str]
    advice: dict[str, str]


def languages() -> tuple[str, ...]:
    """Return the languages that are there, as rig.toml names them."""
    return tuple(sorted(each.name.removesuffix(_SUFFIX) for each in _FOLDER.iterdir()))


def words(language: str) -> Words:
    """Return the words of a language. Raises ConfigError for one that is not there."""
    if language not in languages():
        raise ConfigError(f"language = {language!r}: not there", hint=f"one of {', '.join(languages())}")
    text: Any = (_FOLDER / f"{language}{_SUFFIX}").read_bytes()
    return msgspec.json.decode(text, type=Words)
