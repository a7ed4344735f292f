"""Read a VAPID private key in any format that key tools and configuration files use.

The format is never guessed from a first byte or a length: each format is tried in turn until one yields a key. If none
does, the error names the format that was found. Errors never contain key material.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_der_public_key
from cryptography.x509 import load_der_x509_certificate, load_der_x509_csr

MAX_FILE_BYTES = 65_536
"""Maximum number of bytes read from a key file."""


def read_private_key(text_or_path: str | PathLike[str]) -> ec.EllipticCurvePrivateKey:
    r"""Return the P-256 private key that the text holds, or the file of that name.

    These forms are read, in a setting and in a file:

    - the 32 raw bytes as base64url, base64 or hexadecimal; PEM and DER (PKCS #8 or SEC 1) in base64
    - PEM text, also on one line with spaces or `\n`, without its BEGIN and END lines, or below other text
    - a JWK, the JSON of node's web-push, and any JSON, `.env` or YAML text with a value named "private key"
    - in files also binary DER, the 32 raw bytes and UTF-16

    Quotes, a byte order mark and extra white space are ignored. Raises ValueError that says what was found and how to
    fix it.
    """
    if isinstance(text_or_path, str):
        results = _from_text(text_or_path)
        if any(isinstance(result, ec.EllipticCurvePrivateKey) for result in results):
            return _only_key(results, "a VAPID private key")
    else:
        results = []
    content, reason = _content(text_or_path)
    if content is not None:
        return _only_key(_from_file(content), "a VAPID private key in the file")
    if reason or not isinstance(text_or_path, str):
        results = [Refusal(f"the path of a file that cannot be read ({reason or 'no such file'})", _CHECK_PATH)]
    return _only_key([*results, _NOTHING], "a VAPID private key")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Content that was recognized but is not a usable key: what it is, and how to fix it."""

    found: str
    fix: str


Result: TypeAlias = ec.EllipticCurvePrivateKey | Refusal
TextForm: TypeAlias = Callable[[str, int], list[Result]]

_MAKE_ONE = "Make a key with: python manage.py generate_vapid_keys"
_CHECK_PATH = "Check the path and the permissions of the file."
_P256_NEEDED = f"VAPID needs a key on the curve P-256 (prime256v1). {_MAKE_ONE}"

_NOTHING = Refusal("text that is neither a key in a known form nor the path of a readable file", _MAKE_ONE)
_ENCRYPTED = Refusal(
    "an encrypted private key",
    "Remove its password: openssl pkey -in encrypted.pem -out vapid.pem; chmod 600 vapid.pem",
)
_PUBLIC = Refusal("a public key", "Give the private key that belongs to it.")
_CERTIFICATE = Refusal("a certificate", f"VAPID uses a key pair without a certificate. {_MAKE_ONE}")
_SSH = Refusal("an SSH key", f"VAPID keys are P-256 keys in PEM, DER, JWK or raw form. {_MAKE_ONE}")
_FINGERPRINT = Refusal("the fingerprint of a key", "Give the private key itself.")
_OUT_OF_RANGE = Refusal("32 bytes that are not a private key of the curve P-256", _MAKE_ONE)
_DAMAGED_PEM = Refusal(
    "PEM text that is cut off or damaged",
    r'Copy it whole. In a file of environment variables write it on one line, with "\n" for its line breaks.',
)
_DAMAGED_JWK = Refusal("a damaged JWK", 'Give the JWK whole: "kty", "crv", "x", "y" and "d".')
_SEVERAL = Refusal("several different private keys", "Leave one of them.")

_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of P-256 (FIPS 186-4, D.1.2.3): a private key is less than this."""

_MAX_DEPTH = 4
"""Maximum number of nested encodings, such as base64 of JSON of PEM."""


def _only_key(results: Iterable[Result], expected: str) -> ec.EllipticCurvePrivateKey:
    keys: dict[int, ec.EllipticCurvePrivateKey] = {}
    refusals = []
    for result in results:
        if isinstance(result, Refusal):
            refusals.append(result)
        else:
            keys[result.private_numbers().private_value] = result
    if len(keys) == 1:
        return keys.popitem()[1]
    refusal = _SEVERAL if keys else refusals[0]
    raise ValueError(f"Expected {expected}, found {refusal.found}. {refusal.fix}")


def _content(path: str | PathLike[str]) -> tuple[bytes | None, str]:
    """Return the content of the file; or None and the reason, which is "" if the file does not exist."""
    if not str(path).strip():
        return None, ""  # not the current directory
    try:
        with Path(path).open("rb") as file:
            return file.read(MAX_FILE_BYTES), ""
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None, ""
    except OSError as error:
        # the error text contains the path, which may be a mistyped key
        is_file = isinstance(error, PermissionError | IsADirectoryError)
        return None, (error.strerror or "").lower() if is_file else ""


def _from_file(content: bytes) -> list[Result]:
    results = []
    for text in _decoded(content):
        results += _from_text(text)
        if _has_key(results):
            return results
    results = [*_from_der(content), *results]
    if not (content.isascii() and content.decode("ascii").isprintable()):
        results += _from_raw(content)
    return [*results, Refusal("no key in a known form", _MAKE_ONE)]


def _decoded(content: bytes) -> Iterator[str]:
    """Yield the text decoded with each possible encoding."""
    for encoding in ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"):
        try:
            text = content.decode(encoding)
        except UnicodeError:
            continue
        if "\x00" not in text:
            yield text


def _from_text(text: str, depth: int = 0) -> list[Result]:
    """Try every text format. Return the results of the first one that yields a key, or all refusals."""
    text = _INVISIBLE.sub("", text).strip()
    refusals: list[Result] = []
    for candidate, form in [(text, _from_json), *((_unquoted(text), form) for form in _TEXT_FORMS)]:
        results = form(candidate, depth)
        if _has_key(results):
            return results
        refusals += results
    return refusals


def _from_bytes(data: bytes, depth: int) -> list[Result]:
    """Try every format of decoded base64 or hexadecimal text."""
    results = [*_from_raw(data), *_from_der(data)]
    if _has_key(results) or depth >= _MAX_DEPTH or not data.isascii():
        return results
    return [*results, *_from_text(data.decode("ascii"), depth + 1)]


def _has_key(results: Iterable[Result]) -> bool:
    return any(not isinstance(result, Refusal) for result in results)


def _from_raw(data: bytes) -> list[Result]:
    """Read the private number of 32 bytes. Some tools prepend a zero byte."""
    number = data[1:] if len(data) == 33 and data[0] == 0 else data
    if len(number) == 32:
        key = _derived(int.from_bytes(number, "big"))
        return [_OUT_OF_RANGE if key is None else key]
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), data)
    except ValueError:
        return []
    return [_PUBLIC]


def _derived(number: int) -> ec.EllipticCurvePrivateKey | None:
    # older versions of cryptography take a number above the order, newer ones refuse it
    return ec.derive_private_key(number, ec.SECP256R1()) if 0 < number < _ORDER else None


def _from_der(data: bytes) -> list[Result]:
    if not _is_whole_der(data):
        return []
    try:
        key = load_der_private_key(data, None)
    except TypeError:
        return [_ENCRYPTED]
    except UnsupportedAlgorithm:
        return [Refusal("a private key of an unknown kind", _P256_NEEDED)]
    except ValueError:
        return _from_other_der(data)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        kind = type(key).__name__.removesuffix("PrivateKey").removeprefix("_")
        return [Refusal(f"a private key of the kind {kind}", _P256_NEEDED)]
    if key.curve.name != "secp256r1":
        return [Refusal(f"a private key on the curve {key.curve.name}", _P256_NEEDED)]
    return [key]


def _is_whole_der(data: bytes) -> bool:
    """Return whether data is one DER value and nothing else. Older versions of cryptography ignore what follows it."""
    size = data[1] & 0x7F if len(data) > 1 and data[1] & 0x80 else 0
    length = data[2 : 2 + size] if size else data[1:2]
    return bool(length) and len(data) == 2 + size + int.from_bytes(length, "big")


def _from_other_der(data: bytes) -> list[Result]:
    loaders: tuple[tuple[Callable[[bytes], Any], Refusal], ...] = (
        (load_der_public_key, _PUBLIC),
        (load_der_x509_certificate, _CERTIFICATE),
        (load_der_x509_csr, _CERTIFICATE),
    )
    for load, refusal in loaders:
        try:
            load(data)
        except (ValueError, UnsupportedAlgorithm):
            continue
        return [refusal]
    return []


def _from_json(text: str, depth: int) -> list[Result]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return []
    if isinstance(value, str):
        return _from_text(value, depth + 1) if depth < _MAX_DEPTH else []
    if not isinstance(value, dict):
        return []
    if "endpoint" in value:
        return [Refusal("the push subscription of a browser", "Give the private key of your site.")]
    results = _from_object(value, depth)
    return results or [Refusal("JSON without a private key", 'Give a JWK with "d", or JSON with "privateKey".')]


def _from_object(value: dict[str, Any], depth: int) -> list[Result]:
    if "kty" in value:
        return [_from_jwk(value)]
    named, nested, has_public_key = [], [], False
    for name, item in value.items():
        word = re.sub(r"[^a-z]", "", name.lower())
        has_public_key = has_public_key or word.endswith("publickey")
        if isinstance(item, str) and word.endswith(("privatekey", "private")):
            named.append((name, item))
        elif isinstance(item, dict | list) and depth < _MAX_DEPTH:
            nested += [entry for entry in (item if isinstance(item, list) else [item]) if isinstance(entry, dict)]
    results = _from_named(named, depth)
    for entry in nested:
        results += _from_object(entry, depth + 1)
    return results or ([_PUBLIC] if has_public_key else [])


def _from_jwk(jwk: dict[str, Any]) -> Result:
    """Read a JSON Web Key (RFC 7518, section 6.2)."""
    kind = jwk.get("crv") if jwk["kty"] == "EC" else jwk["kty"]
    if kind != "P-256":
        name = kind if isinstance(kind, str) and re.fullmatch(r"[A-Za-z0-9-]{1,12}", kind) else "another kind"
        return Refusal(f"a JWK of the kind {name}", _P256_NEEDED)
    if "d" not in jwk:
        return Refusal('a JWK without "d", which is a public key', "Give the private JWK that belongs to it.")
    try:
        x, y, number = (int.from_bytes(_base64_bytes(jwk[name]), "big") for name in ("x", "y", "d"))
    except (KeyError, TypeError, ValueError):
        return _DAMAGED_JWK
    key = _derived(number)
    if key is None:
        return _DAMAGED_JWK
    if key.public_key().public_numbers() != ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()):
        return Refusal('a JWK whose "x" and "y" do not belong to its "d"', "Export the key again.")
    return key


def _from_pem(text: str, _depth: int) -> list[Result]:
    text = _unescaped(text)
    results: list[Result] = []
    for label, body in _PEM_BLOCK.findall(text) or [("PRIVATE KEY", body) for body in _PEM_END.findall(text)]:
        results += _from_pem_block(label.replace(" ", ""), body)
    return results


def _from_pem_block(label: str, body: str) -> list[Result]:
    if label in _PEM_REFUSALS:
        refusal = _PEM_REFUSALS[label]
        return [refusal] if refusal else []
    if label not in ("PRIVATEKEY", "ECPRIVATEKEY"):
        return [Refusal("a PEM block that is not a private key", _MAKE_ONE)]
    if "ENCRYPTED" in body:
        return [_ENCRYPTED]
    try:
        data = _base64_bytes(body)
    except ValueError:
        return [_DAMAGED_PEM]
    return _from_der(data) or [_DAMAGED_PEM]


def _from_assignments(text: str, depth: int) -> list[Result]:
    """Read `VAPID_PRIVATE_KEY=...`, `privateKey: "..."`, or what command-line tools print below "Private Key:"."""
    if depth >= _MAX_DEPTH:
        return []
    return _from_named(_ASSIGNMENT.findall(_unescaped(text)), depth)


def _from_named(values: list[tuple[str, str]], depth: int) -> list[Result]:
    """Read values that are named "private key". Names that contain "vapid" take precedence."""
    ours = [value for name, value in values if "vapid" in name.lower()]
    results: list[Result] = []
    for value in ours or [value for _name, value in values]:
        results += _from_text(value, depth + 1)
    return results


def _from_base64(text: str, depth: int) -> list[Result]:
    try:
        data = _base64_bytes(_unescaped(text))
    except ValueError:
        return []
    results = _from_bytes(data, depth)
    if not results and len(data) >= 20 and not _SPACE.search(text):
        results = [
            Refusal(
                f"base64 text of {len(data)} bytes in no known form",
                "A raw key has 32 bytes. Copy the key whole, or give the path of a file that exists.",
            )
        ]
    return results


def _from_hexadecimal(text: str, depth: int) -> list[Result]:
    match = _HEXADECIMAL.fullmatch(_SPACE.sub("", text))
    return [] if match is None else _from_bytes(bytes.fromhex(match.group(1)), depth)


def _foreign(text: str, _depth: int) -> list[Result]:
    """Recognize content that is often mistaken for a private key."""
    if _FINGERPRINT_TEXT.search(text):
        return [_FINGERPRINT]
    if text.startswith(("ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-", "PuTTY-User-Key-File")):
        return [_SSH]
    return []


# hexadecimal comes before base64, which would refuse it by its length
_TEXT_FORMS: tuple[TextForm, ...] = (
    _from_json,
    _from_pem,
    _from_assignments,
    _from_hexadecimal,
    _foreign,
    _from_base64,
)

_PEM_REFUSALS: dict[str, Refusal | None] = {
    "ECPARAMETERS": None,  # stands before the key
    "ENCRYPTEDPRIVATEKEY": _ENCRYPTED,
    "PUBLICKEY": _PUBLIC,
    "CERTIFICATE": _CERTIFICATE,
    "X509CERTIFICATE": _CERTIFICATE,
    "TRUSTEDCERTIFICATE": _CERTIFICATE,
    "CERTIFICATEREQUEST": _CERTIFICATE,
    "NEWCERTIFICATEREQUEST": _CERTIFICATE,
    "OPENSSHPRIVATEKEY": _SSH,
    "RSAPRIVATEKEY": Refusal("a private key of the kind RSA", _P256_NEEDED),
    "DSAPRIVATEKEY": Refusal("a private key of the kind DSA", _P256_NEEDED),
    "RSAPUBLICKEY": _PUBLIC,
}

_INVISIBLE = re.compile("[\u200b-\u200d\u2060\ufeff]")
_SPACE = re.compile(r"\s+")
_QUOTES = "\\\"'`\u201c\u201d\u2018\u2019 \t\r\n"
_QUOTED = re.compile(r"""\A[bru]{1,2}(["'].*["'])\Z""", re.DOTALL)
_ESCAPED_BREAK = re.compile(r"\\+(?:[rnt]|\r?\n)")
_PEM_BLOCK = re.compile(
    r"-----\s*BEGIN\s*([A-Z0-9 ]{0,60}?)\s*-----(.*?)(?:-----\s*END[A-Z0-9\s]{0,60}-----|(?=-----\s*BEGIN)|\Z)",
    re.DOTALL,
)
_PEM_END = re.compile(r"\A(.*?)-----\s*END[A-Z0-9\s]{0,60}-----", re.DOTALL)
_ASSIGNMENT = re.compile(
    r"""((?:vapid[\w .-]{0,20})?private(?:[ _-]?key)?)["'`\\]*\s*[:=]\s*["'`\\]*([^\s"'`,;{}\\]+)""", re.IGNORECASE
)
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]+={0,3}")
_HEXADECIMAL = re.compile(r"(?:0[xX])?((?:[0-9A-Fa-f]{2}){32,})")
_FINGERPRINT_TEXT = re.compile(r"(?i)\bfingerprint\b|\A(?:sha1|sha256|md5):|\A(?:[0-9a-f]{2}:){9,}[0-9a-f]{2}\Z")


def _unquoted(text: str) -> str:
    return _QUOTED.sub(r"\1", text).strip(_QUOTES)


def _unescaped(text: str) -> str:
    return _ESCAPED_BREAK.sub("\n", text)


def _base64_bytes(text: str) -> bytes:
    """Decode base64 or base64url, with or without padding and white space. Raises ValueError for other text."""
    compact = _SPACE.sub("", text)
    if not _BASE64.fullmatch(compact):
        raise ValueError("not base64")
    return binascii.a2b_base64(compact.rstrip("=").replace("-", "+").replace("_", "/") + "==")
