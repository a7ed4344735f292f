"""Find private keys in text: JSON, PEM, `.env` and YAML files, base64 and hexadecimal, in any nesting."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, TypeAlias

from django_webpush_kit.protocol.key_formats import (
    CERTIFICATE,
    ENCRYPTED,
    MAKE_ONE,
    P256_NEEDED,
    PUBLIC,
    Refusal,
    Result,
    base64_bytes,
    from_der,
    from_jwk,
    from_raw,
    has_key,
)

TextForm: TypeAlias = Callable[[str, int], list[Result]]

_SSH = Refusal("an SSH key", f"VAPID keys are P-256 keys in PEM, DER, JWK or raw form. {MAKE_ONE}")
_FINGERPRINT = Refusal("the fingerprint of a key", "Give the private key itself.")
_DAMAGED_PEM = Refusal(
    "PEM text that is cut off or damaged",
    r'Copy it whole. In a file of environment variables write it on one line, with "\n" for its line breaks.',
)

_MAX_DEPTH = 4
"""Maximum number of nested encodings, such as base64 of JSON of PEM."""


def from_text(text: str, depth: int = 0) -> list[Result]:
    """Try every text format. Return the results of the first one that yields a key, or all refusals.

    `depth` is the number of encodings around the text, such as base64.
    """
    text = _INVISIBLE.sub("", text).strip()
    refusals: list[Result] = []
    for candidate, form in [(text, _from_json), *((_unquoted(text), form) for form in _TEXT_FORMS)]:
        results = form(candidate, depth)
        if has_key(results):
            return results
        refusals += results
    return refusals


def _from_bytes(data: bytes, depth: int) -> list[Result]:
    """Try every format of decoded base64 or hexadecimal text."""
    results = [*from_raw(data), *from_der(data)]
    if has_key(results) or depth >= _MAX_DEPTH or not data.isascii():
        return results
    return [*results, *from_text(data.decode("ascii"), depth + 1)]


def _from_json(text: str, depth: int) -> list[Result]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return []
    if isinstance(value, str):
        return from_text(value, depth + 1) if depth < _MAX_DEPTH else []
    if not isinstance(value, dict):
        return []
    if "endpoint" in value:
        return [Refusal("the push subscription of a browser", "Give the private key of your site.")]
    results = _from_object(value, depth)
    return results or [Refusal("JSON without a private key", 'Give a JWK with "d", or JSON with "privateKey".')]


def _from_object(value: dict[str, Any], depth: int) -> list[Result]:
    if "kty" in value:
        return [from_jwk(value)]
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
    return results or ([PUBLIC] if has_public_key else [])


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
        return [Refusal("a PEM block that is not a private key", MAKE_ONE)]
    if "ENCRYPTED" in body:
        return [ENCRYPTED]
    try:
        data = base64_bytes(body)
    except ValueError:
        return [_DAMAGED_PEM]
    return from_der(data) or [_DAMAGED_PEM]


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
        results += from_text(value, depth + 1)
    return results


def _from_base64(text: str, depth: int) -> list[Result]:
    try:
        data = base64_bytes(_unescaped(text))
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
    "ENCRYPTEDPRIVATEKEY": ENCRYPTED,
    "PUBLICKEY": PUBLIC,
    "CERTIFICATE": CERTIFICATE,
    "X509CERTIFICATE": CERTIFICATE,
    "TRUSTEDCERTIFICATE": CERTIFICATE,
    "CERTIFICATEREQUEST": CERTIFICATE,
    "NEWCERTIFICATEREQUEST": CERTIFICATE,
    "OPENSSHPRIVATEKEY": _SSH,
    "RSAPRIVATEKEY": Refusal("a private key of the kind RSA", P256_NEEDED),
    "DSAPRIVATEKEY": Refusal("a private key of the kind DSA", P256_NEEDED),
    "RSAPUBLICKEY": PUBLIC,
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
_HEXADECIMAL = re.compile(r"(?:0[xX])?((?:[0-9A-Fa-f]{2}){32,})")
_FINGERPRINT_TEXT = re.compile(r"(?i)\bfingerprint\b|\A(?:sha1|sha256|md5):|\A(?:[0-9a-f]{2}:){9,}[0-9a-f]{2}\Z")


def _unquoted(text: str) -> str:
    return _QUOTED.sub(r"\1", text).strip(_QUOTES)


def _unescaped(text: str) -> str:
    return _ESCAPED_BREAK.sub("\n", text)
