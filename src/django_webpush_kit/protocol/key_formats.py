"""Read a private key in the formats that hold one key: 32 raw bytes, DER and JWK.

Each function returns what it found: keys, and refusals of content that it recognized. An empty list means that the
content has another format.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_der_public_key
from cryptography.x509 import load_der_x509_certificate, load_der_x509_csr


@dataclass(frozen=True, slots=True)
class Refusal:
    """Content that was recognized but is not a usable key: what it is, and how to fix it."""

    found: str
    fix: str


Result: TypeAlias = ec.EllipticCurvePrivateKey | Refusal

MAKE_ONE = "Make a key with: python manage.py generate_vapid_keys"
P256_NEEDED = f"VAPID needs a key on the curve P-256 (prime256v1). {MAKE_ONE}"

ENCRYPTED = Refusal(
    "an encrypted private key",
    "Remove its password: openssl pkey -in encrypted.pem -out vapid.pem; chmod 600 vapid.pem",
)
PUBLIC = Refusal("a public key", "Give the private key that belongs to it.")
CERTIFICATE = Refusal("a certificate", f"VAPID uses a key pair without a certificate. {MAKE_ONE}")
_OUT_OF_RANGE = Refusal("32 bytes that are not a private key of the curve P-256", MAKE_ONE)
_DAMAGED_JWK = Refusal("a damaged JWK", 'Give the JWK whole: "kty", "crv", "x", "y" and "d".')

_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of P-256 (FIPS 186-4, D.1.2.3): a private key is less than this."""

_SPACE = re.compile(r"\s+")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]+={0,3}")


def from_raw(data: bytes) -> list[Result]:
    """Read the private number of 32 bytes. Some tools prepend a zero byte."""
    number = data[1:] if len(data) == 33 and data[0] == 0 else data
    if len(number) == 32:
        key = _derived(int.from_bytes(number, "big"))
        return [_OUT_OF_RANGE if key is None else key]
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), data)
    except ValueError:
        return []
    return [PUBLIC]


def _derived(number: int) -> ec.EllipticCurvePrivateKey | None:
    # older versions of cryptography take a number above the order, newer ones refuse it
    return ec.derive_private_key(number, ec.SECP256R1()) if 0 < number < _ORDER else None


def from_der(data: bytes) -> list[Result]:
    """Read a private key in PKCS #8 or SEC 1. Other keys and certificates are refusals."""
    if not _is_whole_der(data):
        return []
    try:
        key = load_der_private_key(data, None)
    except TypeError:
        return [ENCRYPTED]
    except UnsupportedAlgorithm:
        return [Refusal("a private key of an unknown kind", P256_NEEDED)]
    except ValueError:
        return _from_other_der(data)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        kind = type(key).__name__.removesuffix("PrivateKey").removeprefix("_")
        return [Refusal(f"a private key of the kind {kind}", P256_NEEDED)]
    if key.curve.name != "secp256r1":
        return [Refusal(f"a private key on the curve {key.curve.name}", P256_NEEDED)]
    return [key]


def _is_whole_der(data: bytes) -> bool:
    """Return whether data is one DER value and nothing else. Older versions of cryptography ignore what follows it."""
    size = data[1] & 0x7F if len(data) > 1 and data[1] & 0x80 else 0
    length = data[2 : 2 + size] if size else data[1:2]
    return bool(length) and len(data) == 2 + size + int.from_bytes(length, "big")


def _from_other_der(data: bytes) -> list[Result]:
    loaders: tuple[tuple[Callable[[bytes], Any], Refusal], ...] = (
        (load_der_public_key, PUBLIC),
        (load_der_x509_certificate, CERTIFICATE),
        (load_der_x509_csr, CERTIFICATE),
    )
    for load, refusal in loaders:
        try:
            load(data)
        except (ValueError, UnsupportedAlgorithm):
            continue
        return [refusal]
    return []


def from_jwk(jwk: dict[str, Any]) -> Result:
    """Read a JSON Web Key (RFC 7518, section 6.2)."""
    kind = jwk.get("crv") if jwk["kty"] == "EC" else jwk["kty"]
    if kind != "P-256":
        name = kind if isinstance(kind, str) and re.fullmatch(r"[A-Za-z0-9-]{1,12}", kind) else "another kind"
        return Refusal(f"a JWK of the kind {name}", P256_NEEDED)
    if "d" not in jwk:
        return Refusal('a JWK without "d", which is a public key', "Give the private JWK that belongs to it.")
    try:
        x, y, number = (int.from_bytes(base64_bytes(jwk[name]), "big") for name in ("x", "y", "d"))
    except (KeyError, TypeError, ValueError):
        return _DAMAGED_JWK
    key = _derived(number)
    if key is None:
        return _DAMAGED_JWK
    if key.public_key().public_numbers() != ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()):
        return Refusal('a JWK whose "x" and "y" do not belong to its "d"', "Export the key again.")
    return key


def has_key(results: Iterable[Result]) -> bool:
    """Return whether one of the results is a key."""
    return any(not isinstance(result, Refusal) for result in results)


def base64_bytes(text: str) -> bytes:
    """Decode base64 or base64url, with or without padding and white space. Raises ValueError for other text."""
    compact = _SPACE.sub("", text)
    if not _BASE64.fullmatch(compact):
        raise ValueError("not base64")
    return binascii.a2b_base64(compact.rstrip("=").replace("-", "+").replace("_", "/") + "==")
