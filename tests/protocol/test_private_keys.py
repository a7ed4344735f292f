"""Keys are read from every form, by trying the forms; what is not a key is refused in words."""

from __future__ import annotations

import json
import re

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from django_webpush_kit.protocol.private_keys import read_private_key
from django_webpush_kit.protocol.vapid import generate_vapid_keys
from tests.randomness import P256_ORDER, per_test

from . import key_forms
from .key_forms import base64, base64url, file_forms, jwk, openssl, point, public_pem, raw, text_forms

KEY = ec.derive_private_key(0x5EED << 200, ec.SECP256R1())


def random_key(first_byte: int | None = None) -> ec.EllipticCurvePrivateKey:
    """A key from the run's seed; its first byte can be chosen, because the first byte is what guessing goes by."""
    if first_byte is None:
        return per_test.private_key()
    return ec.derive_private_key((first_byte << 248 | per_test.getrandbits(248)) % P256_ORDER, ec.SECP256R1())


def number(key: ec.EllipticCurvePrivateKey) -> int:
    return key.private_numbers().private_value


def refusal(text_or_path) -> str:
    with pytest.raises(ValueError, match=r"^Expected a VAPID private key") as error:
        read_private_key(text_or_path)
    assert error.value.__cause__ is None
    return str(error.value)


class TestForms:
    @pytest.mark.thorough
    @pytest.mark.parametrize("first_bytes", [range(first, first + 32) for first in range(0, 256, 32)], ids=str)
    def test_every_text_form_is_read_whatever_its_first_byte(self, first_bytes):
        for first_byte in first_bytes:
            key = random_key(first_byte)
            for name, text in text_forms(key):
                assert number(read_private_key(text)) == number(key), (name, text)

    @pytest.mark.parametrize("form", [name for name, _text in text_forms(KEY)])
    def test_a_file_may_contain_every_form_of_text(self, form, tmp_path):
        key, path = random_key(), tmp_path / "vapid.key"
        path.write_bytes(dict(text_forms(key))[form].encode())
        assert number(read_private_key(path)) == number(key)
        assert number(read_private_key(str(path))) == number(key)

    @pytest.mark.parametrize("form", [name for name, _content in file_forms(KEY)])
    def test_a_file_may_be_binary_or_have_another_encoding(self, form, tmp_path):
        path = tmp_path / "vapid.key"
        for _ in range(8):
            key = random_key()
            path.write_bytes(dict(file_forms(key))[form])
            assert number(read_private_key(path)) == number(key)

    @pytest.mark.slow
    def test_thousands_of_keys(self, tmp_path):
        path = tmp_path / "vapid.key"
        for turn in range(3000):
            key = random_key()
            for name, text in text_forms(key):
                assert number(read_private_key(text)) == number(key), (name, text)
            name, content = per_test.choice([*text_forms(key), *file_forms(key)])
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
            assert number(read_private_key(path)) == number(key), (turn, name, content)

    def test_a_raw_key_in_a_file_whose_base64_begins_like_der(self, tmp_path):
        key = random_key(0xD3)
        assert base64url(raw(key)).startswith("0")
        path = tmp_path / "vapid.key"
        path.write_text(base64url(raw(key)))
        assert number(read_private_key(path)) == number(key)

    def test_files_of_openssl(self, tmp_path):
        for key in (
            openssl("ecparam", "-name", "prime256v1", "-genkey"),
            openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
        ):
            expected = number(serialization.load_pem_private_key(key[key.rindex(b"-----BEGIN") :], None))
            for content in (key, openssl("pkey", "-text", given=key), openssl("ec", "-outform", "DER", given=key)):
                path = tmp_path / "vapid.key"
                path.write_bytes(content)
                assert number(read_private_key(path)) == expected

    def test_the_file_of_generate_vapid_keys(self, tmp_path):
        keys = generate_vapid_keys()
        path = tmp_path / "vapid.env"
        path.write_text("".join(f"VAPID_{name.upper()}={value}\n" for name, value in keys.items()))
        assert base64url(point(read_private_key(path))) == keys["public_key"]


PASSWORD = serialization.BestAvailableEncryption(b"password")
P384 = ec.derive_private_key(7, ec.SECP384R1())
RSA = rsa.generate_private_key(65537, 2048)
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
DER = KEY.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
OPENSSH = PrivateFormat.OpenSSH
PUBLIC_SSH = KEY.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
COMPRESSED = KEY.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
PUBLIC_DER = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def certificate() -> str:
    request = openssl("req", "-x509", "-key", "/dev/stdin", "-subj", "/CN=push.example.com", given=PEM)
    return request.decode()


def private(key, encoding=Encoding.PEM, layout=PrivateFormat.PKCS8, encryption=None) -> bytes:
    return key.private_bytes(encoding, layout, encryption or NoEncryption())


def encoded(data: bytes, times: int) -> str:
    for _ in range(times):
        data = base64(data).encode()
    return data.decode()


def without(name: str) -> dict[str, str]:
    return {key: value for key, value in jwk(KEY).items() if key != name}


REFUSED = {
    "encrypted PEM": (private(KEY, encryption=PASSWORD), "an encrypted private key. Remove its password: openssl"),
    "encrypted SEC 1": (private(KEY, layout=PrivateFormat.TraditionalOpenSSL, encryption=PASSWORD), "an encrypted"),
    "encrypted DER": (private(KEY, Encoding.DER, encryption=PASSWORD), "an encrypted private key"),
    "encrypted DER in base64": (base64(private(KEY, Encoding.DER, encryption=PASSWORD)), "an encrypted private key"),
    "public point": (base64url(point(KEY)), "a public key. Give the private key that belongs to it."),
    "compressed point": (base64url(COMPRESSED), "a public key"),
    "public point in hexadecimal": (point(KEY).hex(), "a public key"),
    "public PEM": (public_pem(KEY), "a public key"),
    "public PEM in base64": (base64(public_pem(KEY).encode()), "a public key"),
    "public DER": (PUBLIC_DER, "a public key"),
    "public JWK": (json.dumps(without("d")), 'a JWK without "d", which is a public key'),
    "JSON with a public key": (json.dumps({"publicKey": base64url(point(KEY))}), "a public key"),
    "RSA public key": ("-----BEGIN RSA PUBLIC KEY-----\nMAA=\n-----END RSA PUBLIC KEY-----", "a public key"),
    "P-384": (private(P384), "on the curve secp384r1. VAPID needs a key on the curve P-256"),
    "P-384 in base64": (base64url(private(P384, Encoding.DER)), "on the curve secp384r1"),
    "P-384 JWK": (json.dumps({**jwk(KEY), "crv": "P-384"}), "a JWK of the kind P-384"),
    "OKP JWK": (json.dumps({"kty": "OKP", "crv": "Ed25519", "d": "x"}), "a JWK of the kind OKP"),
    "nonsense JWK": (json.dumps({"kty": ["x"]}), "a JWK of the kind another kind"),
    "damaged JWK": (json.dumps({**jwk(KEY), "d": "?"}), "a damaged JWK"),
    "JWK of zero": (json.dumps({**jwk(KEY), "d": "AA"}), "a damaged JWK"),
    "JWK without a point": (json.dumps(without("x")), "a damaged JWK"),
    "JWK of two keys": (json.dumps({**jwk(KEY), "d": base64url(bytes(31) + b"\7")}), '"x" and "y" do not belong'),
    "other JSON": (json.dumps({"password": "x"}), "JSON without a private key. Give a JWK with"),
    "list in JSON": ("[1, 2]", "neither a key in a known form nor the path of a readable file"),
    "push subscription": (json.dumps({"endpoint": "https://x", "keys": {}}), "the push subscription of a browser"),
    "RSA": (private(RSA), "a private key of the kind RSA"),
    "RSA SEC 1": (private(RSA, layout=PrivateFormat.TraditionalOpenSSL), "a private key of the kind RSA"),
    "Ed25519": (private(ed25519.Ed25519PrivateKey.generate()), "a private key of the kind Ed25519"),
    "certificate": (certificate(), "a certificate"),
    "certificate in base64 DER": (base64(openssl("x509", "-outform", "DER", given=certificate())), "a certificate"),
    "SSH key": (private(KEY, layout=OPENSSH), "an SSH key"),
    "SSH public key": (PUBLIC_SSH, "an SSH key"),
    "PuTTY key": ("PuTTY-User-Key-File-3: ecdsa-sha2-nistp256\nEncryption: none\n", "an SSH key"),
    "PGP key": ("-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nAAAA\n-----END PGP PRIVATE KEY BLOCK-----", "PEM block that"),
    "fingerprint": (":".join(f"{byte:02X}" for byte in raw(KEY)), "the fingerprint of a key"),
    "SSH fingerprint": ("SHA256:" + base64url(raw(KEY)), "the fingerprint of a key"),
    "openssl fingerprint": ("SHA256 Fingerprint=AB:CD", "the fingerprint of a key"),
    "cut PEM": (PEM[:90], "PEM text that is cut off or damaged. Copy it whole"),
    "first line of PEM": ("-----BEGIN PRIVATE KEY-----", "PEM text that is cut off or damaged"),
    "damaged PEM": (PEM.replace("M", "?", 1).replace("M", "?"), "PEM text that is cut off or damaged"),
    "cut raw key": (base64url(raw(KEY))[:-4], "base64 text of 29 bytes in no known form. A raw key has 32 bytes"),
    "zero": (base64url(bytes(32)), "not a private key of the curve P-256"),
    "number above the order": (base64url(b"\xff" * 32), "not a private key of the curve P-256"),
    "DER with a byte too many": (base64url(DER + b"\0"), "base64 text of 139 bytes in no known form"),
    "DER without its last byte": (base64url(DER[:-1]), "base64 text of 137 bytes in no known form"),
    "two keys": (PEM + private(ec.derive_private_key(7, ec.SECP256R1())).decode(), "several different private keys"),
    "password": ("correct horse battery staple", "neither a key in a known form nor the path of a readable file"),
    "other password": ("hunter2!", "neither a key in a known form"),
    "nothing": ("", "neither a key in a known form"),
    "null byte": ("s\x00ecret", "neither a key in a known form"),
    "base64 of nothing": (encoded(b"no key at all, whatever it is", 7), "base64 text of"),
    "assignments of assignments": ("private:" * 40 + "x", "neither a key in a known form"),
    "deep JSON": ("[" * 100_000, "neither a key in a known form"),
    "nested JSON": (json.dumps({"a": {"b": {"c": {"d": {"e": {"privateKey": "x"}}}}}}), "JSON without a private key"),
    "long text": ("x" * 5000, "base64 text of 3750 bytes"),
}


class TestRefusals:
    @pytest.mark.parametrize("form", [form for form, (given, _) in REFUSED.items() if isinstance(given, str)])
    def test_text_is_refused_with_a_reason(self, form):
        given, words = REFUSED[form]
        assert words in refusal(given)

    @pytest.mark.parametrize("form", REFUSED)
    def test_a_file_is_refused_with_a_reason(self, form, tmp_path):
        given, words = REFUSED[form]
        path = tmp_path / "vapid.key"
        path.write_bytes(given if isinstance(given, bytes) else given.encode())
        message = refusal(path)
        assert message == refusal(str(path))
        assert message.startswith("Expected a VAPID private key in the file, found ")
        assert ("no key in a known form" if words.startswith("neither") else words) in message

    def test_no_refusal_shows_key_material(self, tmp_path):
        """Random damage to every form: whatever comes out, it is a key or words without any eight characters of it."""
        for name, text in [*text_forms(random_key())] * 4:
            where = per_test.randrange(len(text))
            damaged = text[:where] + per_test.choice(["", "?", "A", "\n", "\x00", '"', "-----"]) + text[where + 1 :]
            try:
                read_private_key(damaged)
            except ValueError as error:
                secret = "".join(character for character in text if character not in " \n\\")
                parts = {secret[start : start + 8] for start in range(len(secret) - 8)}
                shown = [part for part in parts if part in str(error) and re.search(r"\d", part)]
                assert shown == [], (name, damaged)

    def test_a_missing_file_and_a_directory(self, tmp_path):
        assert f"the path of a missing file: {tmp_path}/missing.pem." in refusal(tmp_path / "missing.pem")
        assert f"the path of a missing file: {tmp_path}/missing." in refusal(f"{tmp_path}/missing")
        assert "cannot be read (is a directory)" in refusal(tmp_path)
        assert "cannot be read (is a directory)" in refusal(str(tmp_path))
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("path", ["/run/secrets/no-such-vapid.pem", "secrets/vapid.key", "C:\\keys\\vapid.der"])
    def test_the_path_of_a_missing_file_is_named(self, path):
        assert f"found the path of a missing file: {path}." in refusal(path)

    @pytest.mark.parametrize(
        "text",
        [
            "/tmp/\x00.pem",
            "/tmp/" + "x" * 5000 + ".pem",
            "hunter2!",
            "/" + base64(b"\xff" * 29),
            "nowhere/" + base64(b"\xff" * 29),
        ],
    )
    def test_other_text_is_not_repeated_as_a_path(self, text):
        assert "missing file" not in refusal(text)
        assert text not in refusal(text)

    def test_a_key_named_after_vapid_comes_before_others(self):
        other = base64url(raw(random_key()))
        ours = random_key()
        text = f"STRIPE_PRIVATE_KEY={other}\nVAPID_PRIVATE_KEY={base64url(raw(ours))}\n"
        assert number(read_private_key(text)) == number(ours)
        assert "several different" in refusal(text.replace("VAPID", "PUSH"))

    def test_a_private_key_on_an_unknown_curve(self):
        text = openssl("ecparam", "-name", "secp112r1", "-genkey", "-noout").decode()
        assert "a private key of an unknown kind" in refusal(text)


def test_the_test_cases_have_unique_names():
    for forms in (text_forms, key_forms.file_forms):
        names = [name for name, _content in forms(KEY)]
        assert len(names) == len(set(names))
