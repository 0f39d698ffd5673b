# SPDX-License-Identifier: Apache-2.0
"""
How long a chip takes: published figures, not our measurements. The simulated chip waits by them, `line plan` too.

Sources:
    optiga-trust-m  Infineon, OPTIGA Trust M Solution Reference Manual: key generation ~55 ms, ECDSA sign ~65 ms
                    (typical, P-256, I2C at 400 kHz)
    se050           wolfSSL, "SE050 benchmarks on a Raspberry Pi", November 2021: ECDSA sign 102.9 ms
    slb9670         wolfTPM README, benchmarks: key generation 231 ms, ECDSA sign 68.9 ms (SPI at 43 MHz)

Assumptions, where no published figure was found:
    * Attestation is one signature; hashing and assembling a kilobyte is not counted (TPM2_Certify behaves so).
    * SE050 key generation takes as long as its ECDSA signature: both are one scalar multiplication.
    * SE050 is clocked at 400 kHz, the slowest rate that its bus must bear.
    * Non-volatile memory is written in pages of 256 bytes, 5 ms each; key generation includes its own write.
    * P-384 takes three times as long as P-256: cubic growth with the key size, rounded down.
    * Ed25519 takes as long as P-256. ML-DSA-44, -65 and -87 take one, one and a half and two times as long, in a chip
      with hardware for it: no chip with published figures is sold. Rejections, which make single ML-DSA signatures take
      several times the mean, are not modelled.
    * nextgen-pq, the chip that is not sold yet: 40 ms for a P-256 key or signature, 1 MHz I2C, pages as today's.

The times have no spread: two runs differ by the host's scheduling alone. The OPTIGA security monitor, which slows a
chip down after five operations in five seconds each, is not modelled.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from birthmark.silicon.port import Algorithm

NVM_PAGE_BYTES = 256
FACTORS: Mapping[Algorithm, float] = MappingProxyType(
    {
        Algorithm.P256: 1,
        Algorithm.P384: 3,
        Algorithm.ED25519: 1,
        Algorithm.MLDSA44: 1,
        Algorithm.MLDSA65: 1.5,
        Algorithm.MLDSA87: 2,
    }
)
"""How many times as long as P-256 a key or a signature takes."""

_BITS_PER_BYTE = 9  # eight data bits and the acknowledge bit


@dataclass(frozen=True, slots=True)
class LatencyModel:
    """Times of one chip family. `bus_hz` 0 stands for a bus that takes no time."""

    bus_hz: int
    generate_ms: float
    sign_ms: float
    write_page_ms: float
    block_waiting_ms: int

    @property
    def attest_ms(self) -> float:
        """Time of one attestation."""
        return self.sign_ms

    def bus_s(self, byte_count: int) -> float:
        """Return how long so many bytes, the address included, are on the wire."""
        return byte_count * _BITS_PER_BYTE / self.bus_hz if self.bus_hz else 0.0

    def write_ms(self, byte_count: int) -> float:
        """Return how long so many bytes take to be written to non-volatile memory."""
        return -(-byte_count // NVM_PAGE_BYTES) * self.write_page_ms


LATENCIES: Mapping[str, LatencyModel] = MappingProxyType(
    {
        "none": LatencyModel(bus_hz=0, generate_ms=0, sign_ms=0, write_page_ms=0, block_waiting_ms=200),
        "optiga-trust-m": LatencyModel(400_000, generate_ms=55, sign_ms=65, write_page_ms=5, block_waiting_ms=1000),
        "se050": LatencyModel(400_000, generate_ms=102.9, sign_ms=102.9, write_page_ms=5, block_waiting_ms=1000),
        "slb9670": LatencyModel(43_000_000, generate_ms=231, sign_ms=68.9, write_page_ms=5, block_waiting_ms=1000),
        "nextgen-pq": LatencyModel(1_000_000, generate_ms=40, sign_ms=40, write_page_ms=5, block_waiting_ms=1000),
    }
)
