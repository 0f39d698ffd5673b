# SPDX-License-Identifier: Apache-2.0
"""
What the chip models can do: the key types they make, and how much they hold.

All models but one stand for chips that are sold today. `nextgen-pq` stands for one that is not sold yet: beside the
curves it makes ML-DSA keys (FIPS 204) and holds certificates as large as those need. Its figures are assumptions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from birthmark.silicon.simulator.keys import KeyType

NEXT_GENERATION = "nextgen-pq"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What one model can do. Limits in bytes."""

    key_types: frozenset[KeyType]
    certificate_limit: int
    """Most bytes of a certificate object."""
    chain_limit: int
    """Most data bytes of a chained command."""


TODAY = Capabilities(frozenset({KeyType.P256, KeyType.P384}), certificate_limit=1728, chain_limit=2048)
"""The smallest certificate object among the named chips (OPTIGA Trust M, E0E1..E0E3)."""

_MODELS: Mapping[str, Capabilities] = MappingProxyType(
    {NEXT_GENERATION: Capabilities(frozenset(KeyType), certificate_limit=12_288, chain_limit=12_288)}
)


def capabilities(model: str) -> Capabilities:
    """Return what a chip of this model can do."""
    return _MODELS.get(model, TODAY)
