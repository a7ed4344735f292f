"""Read a VAPID private key in any format that key tools and configuration files use.

The format is never guessed from a first byte or a length: each format is tried in turn until one yields a key. If none
does, the error names the format that was found. Errors never contain key material.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from django_webpush_kit.protocol.key_formats import MAKE_ONE, Refusal, Result, from_der, from_raw, has_key
from django_webpush_kit.protocol.key_texts import from_text

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
        results = from_text(text_or_path)
        if has_key(results):
            return _only_key(results, "a VAPID private key")
    else:
        results = []
    content, reason = _content(text_or_path)
    if content is not None:
        return _only_key(_from_file(content), "a VAPID private key in the file")
    missing = missing_file(text_or_path)
    if reason:
        results = [Refusal(f"the path of a file that cannot be read ({reason})", _CHECK_PATH)]
    elif missing:
        results = [Refusal(f"the path of a missing file: {missing}", "Correct the path, or restore the file.")]
    return _only_key([*results, _NOTHING], "a VAPID private key")


def missing_file(text_or_path: str | PathLike[str]) -> str:
    """Return the path that a setting names if no such file exists, or "" if it may be anything else.

    A mistyped key must not be taken for a path, because errors show paths: the name must end as those of key files do,
    or be absolute and in an existing folder.
    """
    path, text = Path(text_or_path), str(text_or_path)
    if not isinstance(text_or_path, str):
        is_path = True
    elif len(text) > _MAX_PATH or not text.isprintable():
        return ""
    else:
        folder = path.parent
        is_path = path.suffix.lower() in _KEY_FILES or (
            path.is_absolute() and folder != Path(path.anchor) and folder.is_dir()
        )
    return text if is_path and not path.exists() else ""


_MAX_PATH = 1024
_KEY_FILES = (".b64", ".der", ".env", ".json", ".jwk", ".key", ".pem", ".txt", ".yaml", ".yml")

_CHECK_PATH = "Check the path and the permissions of the file."
_NOTHING = Refusal("text that is neither a key in a known form nor the path of a readable file", MAKE_ONE)
_SEVERAL = Refusal("several different private keys", "Leave one of them.")


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
        results += from_text(text)
        if has_key(results):
            return results
    results = [*from_der(content), *results]
    if not (content.isascii() and content.decode("ascii").isprintable()):
        results += from_raw(content)
    return [*results, Refusal("no key in a known form", MAKE_ONE)]


def _decoded(content: bytes) -> Iterator[str]:
    """Yield the text decoded with each possible encoding."""
    for encoding in ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"):
        try:
            text = content.decode(encoding)
        except UnicodeError:
            continue
        if "\x00" not in text:
            yield text
