"""What one contestant is measured by, in its own process."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

FLOOR_ROUNDS = 5
FLOOR_MESSAGES = 500


@dataclass(frozen=True, slots=True)
class Measurement:
    """Messages, wall seconds, processor seconds of the process, its peak memory in MB, the P-256 floor in seconds."""

    messages: int
    seconds: float
    processor_seconds: float
    peak_megabytes: float
    floor_seconds: float

    @property
    def rate(self) -> float:
        """Messages per second."""
        return self.messages / self.seconds

    @property
    def microseconds(self) -> float:
        """Processor time per message."""
        return self.processor_seconds / self.messages * 1e6

    @property
    def floor_ratio(self) -> float:
        """How much of the processor time the curve alone needs."""
        return self.floor_seconds * 1e6 / self.microseconds if self.floor_seconds else 0.0


def measure(send: Callable[[], int]) -> Measurement:
    """Run `send`, which returns how many messages were accepted, between two looks at the floor."""
    before = floor_seconds()
    processor, started = time.process_time(), time.perf_counter()
    messages = send()
    seconds, processor = time.perf_counter() - started, time.process_time() - processor
    floor = min(before, floor_seconds())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Measurement(messages, seconds, processor, peak, floor)


def report(measurement: Measurement) -> None:
    """Print a measurement for the process that started this one."""
    print(json.dumps(asdict(measurement)), flush=True)


def floor_seconds() -> float:
    """Processor time of what RFC 8291 asks of the curve for one message, in seconds: the least of five rounds.

    That is a new key pair, the decoding of the browser's point, and the key agreement.
    """
    curve, agreement = ec.SECP256R1(), ec.ECDH()
    point = ec.generate_private_key(curve).public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    rounds = []
    for _ in range(FLOOR_ROUNDS):
        started = time.process_time()
        for _ in range(FLOOR_MESSAGES):
            key = ec.generate_private_key(curve)
            key.exchange(agreement, ec.EllipticCurvePublicKey.from_encoded_point(curve, point))
        rounds.append((time.process_time() - started) / FLOOR_MESSAGES)
    return min(rounds)
