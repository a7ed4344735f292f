"""The forms in which people have a VAPID private key, and what they give by mistake."""

from __future__ import annotations

import json
import subprocess
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from textwrap import indent

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

PrivateKey = ec.EllipticCurvePrivateKey


def raw(key: PrivateKey) -> bytes:
    return key.private_numbers().private_value.to_bytes(32, "big")


def point(key: PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def base64(data: bytes) -> str:
    return b64encode(data).decode()


def wrapped(text: str, width: int = 64) -> str:
    return "\n".join(text[start : start + width] for start in range(0, len(text), width))


def public_pem(key: PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def jwk(key: PrivateKey) -> dict[str, str]:
    x, y = point(key)[1:33], point(key)[33:]
    return {"kty": "EC", "crv": "P-256", "x": base64url(x), "y": base64url(y), "d": base64url(raw(key))}


BAG_ATTRIBUTES = (
    "Bag Attributes\n    friendlyName: Schl\u00fcssel: vapid\n    localKeyID: 54 69 6D\nKey Attributes: <None>\n"
)
EC_PARAMETERS = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"


def pem_forms(name: str, pem: str) -> Iterator[tuple[str, str]]:
    """Yield one PEM text in every way that editors, shells and configuration files leave it."""
    first, *body, last = pem.strip().split("\n")
    yield f"{name} PEM", pem
    yield f"{name} PEM with CR LF", pem.replace("\n", "\r\n")
    yield f"{name} PEM with blank lines", pem.replace("\n", "\n\n")
    yield f"{name} PEM indented", indent(pem, "    ")
    yield f"{name} PEM without its last line break", pem.strip()
    yield f"{name} PEM in lines of 20", "\n".join([first, wrapped("".join(body), 20), last])
    yield f"{name} PEM with literal \\n", pem.replace("\n", "\\n")
    yield f"{name} PEM with literal \\r\\n", pem.replace("\n", "\\r\\n")
    yield f"{name} PEM with double-escaped \\n", pem.replace("\n", "\\\\n")
    yield f"{name} PEM with backslashes at the ends of lines", pem.replace("\n", "\\\n")
    yield f"{name} PEM with spaces for line breaks", pem.replace("\n", " ")
    yield f"{name} PEM in one line without any space", pem.replace("\n", "")
    yield f"{name} PEM without any space", pem.replace("\n", "").replace(" ", "")
    yield f"{name} PEM in quotes with literal \\n", json.dumps(pem)
    yield f"{name} PEM in single quotes", f"'{pem}'"
    yield f"{name} PEM below Bag Attributes", BAG_ATTRIBUTES + pem
    yield f"{name} PEM below EC PARAMETERS", EC_PARAMETERS + pem
    yield f"{name} PEM without its BEGIN line", "\n".join([*body, last])
    yield f"{name} PEM without its END line", "\n".join([first, *body])
    yield f"{name} PEM body", "\n".join(body)
    yield f"{name} PEM body with spaces", " ".join(body)
    yield f"{name} PEM body with literal \\n", "\\n".join(body)
    yield f"{name} PEM in base64url", base64url(pem.encode())
    yield f"{name} PEM in base64", base64(pem.encode())
    yield f"{name} PEM in an .env file", f'DEBUG=1\nVAPID_PRIVATE_KEY="{pem.replace(chr(10), chr(92) + "n")}"\n'


def text_forms(key: PrivateKey) -> Iterator[tuple[str, str]]:
    """Yield the name of each form of text, and the key in it."""
    short, public = base64url(raw(key)), base64url(point(key))
    pair = {"publicKey": public, "privateKey": short}
    yield "raw base64url", short
    yield "raw base64url with padding", f"{short}="
    yield "raw base64", base64(raw(key))
    yield "raw with line breaks", wrapped(short, 20)
    yield "raw with white space around it", f" \t{short}\r\n"
    yield "raw in double quotes", f'"{short}"'
    yield "raw in single quotes", f"'{short}'"
    yield "raw in typographic quotes", f"\u201c{short}\u201d"
    yield "raw in escaped quotes", f'\\"{short}\\"'
    yield "raw after one quote", f'"{short}'
    yield "raw as the repr of bytes", repr(short.encode())
    yield "raw with a byte order mark", f"\ufeff{short}"
    yield "raw with a zero-width space", f"{short}\u200b"
    yield "raw with a literal line break", f"{short}\\n"
    yield "raw after a zero", base64url(b"\x00" + raw(key))
    yield "raw in base64 twice", base64(short.encode())
    yield "raw in hexadecimal", raw(key).hex()
    yield "raw in upper-case hexadecimal", raw(key).hex().upper()
    yield "raw in hexadecimal after 0x", f"0x{raw(key).hex()}"
    yield "JWK", json.dumps(jwk(key))
    yield "JWK indented", json.dumps(jwk(key), indent=2)
    yield "JWK in single quotes", f"'{json.dumps(jwk(key))}'"
    yield "JWK in a quoted text", json.dumps(json.dumps(jwk(key)))
    yield "JWK in base64", base64(json.dumps(jwk(key)).encode())
    yield "JWK set", json.dumps({"keys": [jwk(key)]})
    yield "JWK with the other names of a JWK", json.dumps({**jwk(key), "use": "sig", "kid": "x", "key_ops": ["sign"]})
    yield "JSON of node", json.dumps(pair)
    yield "JSON of node in base64", base64(json.dumps(pair).encode())
    yield "JSON of node as its console prints it", f"{{ publicKey: '{public}', privateKey: '{short}' }}"
    yield "JSON with JWKs of a pair", json.dumps({"publicKey": {**jwk(key), "d": None}, "privateKey": jwk(key)})
    yield "JSON of our command", json.dumps({"VAPID_PRIVATE_KEY": short, "VAPID_PUBLIC_KEY": public})
    yield "JSON with other keys", json.dumps({"stripe_private_key": "sk", "vapid": {"private_key": short}})
    yield (
        "output of web-push",
        f"\n=====\n\nPublic Key:\n{public}\n\nPrivate Key:\n{short}\n\n=====\n",
    )
    yield ".env file", f"VAPID_PUBLIC_KEY={public}\nexport VAPID_PRIVATE_KEY={short}\nDEBUG=1\n"
    yield ".env file with another private key", f"PRIVATE_KEY=x\nVAPID_PRIVATE_KEY='{short}'\n"
    yield "YAML file", f"web_push:\n  vapid_private_key: {short}  # production\n"
    for name, layout in (("PKCS 8", PrivateFormat.PKCS8), ("SEC 1", PrivateFormat.TraditionalOpenSSL)):
        der = key.private_bytes(Encoding.DER, layout, NoEncryption())
        pem = key.private_bytes(Encoding.PEM, layout, NoEncryption()).decode()
        yield f"{name} DER in base64url", base64url(der)
        yield f"{name} DER in base64", base64(der)
        yield f"{name} DER in base64 lines", wrapped(base64(der))
        yield f"{name} DER in hexadecimal", der.hex()
        yield from pem_forms(name, pem)
        yield f"{name} PEM above the public key", pem + public_pem(key)
        yield f"{name} PEM below the public key", public_pem(key) + pem


def file_forms(key: PrivateKey) -> Iterator[tuple[str, bytes]]:
    """Yield the name of each form that only a file can have, and the content."""
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    yield "raw bytes", raw(key)
    yield "PKCS 8 DER", key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    yield "SEC 1 DER", key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    for name, text in (("raw", base64url(raw(key)) + "\n"), ("PEM", pem), ("JWK", json.dumps(jwk(key)))):
        yield f"{name} in UTF-8 with a byte order mark", text.encode("utf-8-sig")
        for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
            yield f"{name} in {encoding}", text.encode(encoding)
    yield "PEM below Latin-1 text", (BAG_ATTRIBUTES + pem).encode("latin-1")


def openssl(*arguments: str, given: str | bytes = b"") -> bytes:
    """Run openssl and return what it prints."""
    given = given.encode() if isinstance(given, str) else given
    return subprocess.run(["openssl", *arguments], input=given, capture_output=True, check=True).stdout
