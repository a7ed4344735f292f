"""Random inputs that can be repeated: all of a run follow from one seed, which pytest prints first."""

from __future__ import annotations

import os
import random
import secrets

from cryptography.hazmat.primitives.asymmetric import ec

# set before pytest-xdist starts its workers, which inherit it
SEED = os.environ.setdefault("TEST_SEED", str(secrets.randbelow(10**9)))

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class Randomness(random.Random):
    """Random numbers, keys and names of one module or test, the same whatever else runs."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{SEED} {name}")

    def restart(self, name: str) -> None:
        """Begin anew, as another module or test."""
        self.seed(f"{SEED} {name}")

    def private_key(self) -> ec.EllipticCurvePrivateKey:
        return ec.derive_private_key(self.randrange(1, P256_ORDER), ec.SECP256R1())

    def name(self) -> str:
        """24 hexadecimal digits, never twice."""
        return f"{self.getrandbits(96):024x}"


per_test = Randomness("import")
"""Restarted for each test, by its id."""
