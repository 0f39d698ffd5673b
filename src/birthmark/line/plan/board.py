# SPDX-License-Identifier: Apache-2.0
"""
The way of one fresh board as work: which step keeps chip, bus, rig and CA busy for how long.

Pure data out of a scenario. Bytes on the bus are those of the simulated chip's frames (T=1' over I2C, addresses
included); a test counts them again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from birthmark.line.journal import Step
from birthmark.line.plan.scenario import Scenario
from birthmark.silicon.port import Algorithm
from birthmark.silicon.timing import FACTORS, LATENCIES, LatencyModel

STEPS: Final = (Step.OBSERVE, Step.GENERATE, Step.ATTEST, Step.ENROL, Step.IMPORT, Step.PROVE, Step.RECORD)

_CERTIFICATE_BYTES: Final = 1_700
"""A P-256 device certificate with its evidence, from the lab."""
_SPKI_BYTES: Final[Mapping[Algorithm, int]] = MappingProxyType(
    {
        Algorithm.P256: 91,
        Algorithm.P384: 120,
        Algorithm.ED25519: 44,
        Algorithm.MLDSA44: 1_334,
        Algorithm.MLDSA65: 1_974,
        Algorithm.MLDSA87: 2_614,
    }
)
_SIGNATURE_BYTES: Final[Mapping[Algorithm, int]] = MappingProxyType(
    {
        Algorithm.P256: 72,
        Algorithm.P384: 104,
        Algorithm.ED25519: 64,
        Algorithm.MLDSA44: 2_420,
        Algorithm.MLDSA65: 3_309,
        Algorithm.MLDSA87: 4_627,
    }
)
_OBSERVE_BYTES: Final = 692
"""Opening the link and the applet, the identity with an AK certificate of about 450 bytes, the status twice."""
_EVIDENCE_BEYOND_SPKI_BYTES: Final = 476
_COMMAND_BYTES: Final = 14
_ANSWER_BYTES: Final = 9
_BLOCK_BYTES: Final = 1_024
_PART_BYTES: Final = 1_015
_PART_OVERHEAD_BYTES: Final = 23
_BLOCK_OVERHEAD_BYTES: Final = 15
_NONCE_BYTES: Final = 32
_MS: Final = 1e-3


class Where(StrEnum):
    """Who is busy, or what is waited for."""

    CHIP = "chip"
    BUS = "bus"
    RIG = "software"
    CA = "CA"
    NETWORK = "network"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class ChipCall:
    """One command to the chip: seconds that it is on the bus, that the chip is busy, and that its answer is."""

    out_s: float
    busy_s: float
    back_s: float


@dataclass(frozen=True, slots=True)
class StepWork:
    """
    One step: the wait for the nonce, the rig's share, the calls to the chip, a worker of the CA. Mean seconds.

    `ca_s` is None for a step that does not ask the CA.
    """

    step: Step
    software_s: float
    calls: tuple[ChipCall, ...] = ()
    ca_s: float | None = None
    needs_nonce: bool = False


def board_way(scenario: Scenario) -> tuple[StepWork, ...]:
    """Return the steps of a fresh board, in their order."""
    calls = _calls(scenario)
    software = scenario.rig.software_ms
    own_ms = (
        software.observe,
        software.generate,
        software.attest,
        software.enrol,
        software.import_,
        software.prove,
        software.record,
    )
    between_s = software.between * _MS / len(STEPS)
    way = [
        StepWork(step, own * _MS + between_s, calls.get(step, ()), needs_nonce=step is Step.ATTEST)
        for step, own in zip(STEPS, own_ms, strict=True)
    ]
    enrol = STEPS.index(Step.ENROL)
    way[enrol] = replace(way[enrol], ca_s=scenario.ca.enrol_ms * _MS)
    return tuple(way)


def chip_model(scenario: Scenario) -> LatencyModel:
    """Return the times of the scenario's chip on the scenario's bus."""
    chip = scenario.chip
    model = LATENCIES[chip.model]
    return model if chip.bus_hz is None else replace(model, bus_hz=chip.bus_hz)


def _calls(scenario: Scenario) -> dict[Step, tuple[ChipCall, ...]]:
    model, algorithm = chip_model(scenario), scenario.chip.algorithm
    spki, signature = _SPKI_BYTES[algorithm], _SIGNATURE_BYTES[algorithm]
    factor = FACTORS[algorithm]
    certificate = scenario.chip.certificate_bytes or _CERTIFICATE_BYTES + spki - _SPKI_BYTES[Algorithm.P256]

    def call(out_bytes: int, busy_ms: float, back_bytes: int) -> ChipCall:
        return ChipCall(model.bus_s(out_bytes), busy_ms * _MS, model.bus_s(back_bytes))

    signs = call(_COMMAND_BYTES + _NONCE_BYTES, model.sign_ms * factor, _answer(signature))
    return {
        Step.OBSERVE: (call(0, 0.0, _OBSERVE_BYTES),),
        Step.GENERATE: (call(_COMMAND_BYTES, model.generate_ms * factor, _answer(spki)),),
        Step.ATTEST: (
            call(_COMMAND_BYTES + _NONCE_BYTES, model.attest_ms, _answer(spki + _EVIDENCE_BEYOND_SPKI_BYTES)),
        ),
        Step.ENROL: (signs,),
        Step.IMPORT: (
            call(_written(certificate), model.write_ms(certificate), _ANSWER_BYTES),
            call(_COMMAND_BYTES, 0.0, _answer(certificate)),
        ),
        Step.PROVE: (signs,),
    }


def _answer(count: int) -> int:
    """Return the bytes of an answer with so much data, in as many blocks as it needs."""
    return count + _ANSWER_BYTES + _BLOCK_OVERHEAD_BYTES * (-(-(count + 2) // _BLOCK_BYTES) - 1)


def _written(count: int) -> int:
    """Return the bytes of chained commands that carry so much data, the acknowledgements between them included."""
    return count + _PART_OVERHEAD_BYTES * -(-count // _PART_BYTES) - _ANSWER_BYTES
