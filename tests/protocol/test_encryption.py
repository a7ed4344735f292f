import base64

import http_ece
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from django_webpush_kit.exceptions import InvalidSubscription, PayloadTooLarge
from django_webpush_kit.protocol import encryption
from django_webpush_kit.protocol.encryption import MAX_PLAINTEXT, decrypt, encrypt, parse_keys
from tests.randomness import Randomness

CURVE = ec.SECP256R1()


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def from_base64url(text):
    return base64.urlsafe_b64decode(text + "==")


def private_key(text):
    return ec.derive_private_key(int.from_bytes(from_base64url(text), "big"), CURVE)


def point(key):
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


RANDOM = Randomness(__name__)
BROWSER = RANDOM.private_key()
P256DH, SECRET = base64url(point(BROWSER)), RANDOM.randbytes(16)
AUTH = base64url(SECRET)


class TestKnownAnswer:
    """RFC 8291, appendix A."""

    plaintext = b"When I grow up, I want to be a watermelon"
    sender = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
    receiver = "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"
    p256dh = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
    auth = "BTBZMqHH6r4Tts7J_aSIgg"
    salt = "DGv6ra1nlYgDCS1FRnbzlw"
    body = (
        "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3"
        "jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
    )

    def test_encrypt(self):
        body = encrypt(
            self.plaintext,
            self.p256dh,
            self.auth,
            private_key=private_key(self.sender),
            salt=from_base64url(self.salt),
        )
        assert base64url(body) == self.body

    def test_decrypt(self):
        secret = from_base64url(self.auth)
        assert decrypt(from_base64url(self.body), private_key(self.receiver), secret) == self.plaintext


@given(st.binary(max_size=MAX_PLAINTEXT))
def test_messages_can_be_decrypted_by_another_implementation_and_ours(payload):
    body = encrypt(payload, P256DH, AUTH)
    assert http_ece.decrypt(body, private_key=BROWSER, auth_secret=SECRET) == payload
    assert decrypt(body, BROWSER, SECRET) == payload


@given(st.binary(min_size=1, max_size=3000))
def test_messages_of_another_implementation_can_be_decrypted(payload):
    sender = RANDOM.private_key()
    body = http_ece.encrypt(payload, private_key=sender, dh=point(BROWSER), auth_secret=SECRET, version="aes128gcm")
    assert decrypt(body, BROWSER, SECRET) == payload


def test_the_largest_payload_fills_the_record_and_no_more():
    assert len(encrypt(b"x" * MAX_PLAINTEXT, P256DH, AUTH)) == 4096
    with pytest.raises(PayloadTooLarge, match="3994 bytes"):
        encrypt(b"x" * (MAX_PLAINTEXT + 1), P256DH, AUTH)


def test_every_message_has_its_own_salt_and_key_pair():
    bodies = [encrypt(b"same", P256DH, AUTH) for _ in range(20)]
    assert len({body[:16] for body in bodies}) == 20
    assert len({body[21:86] for body in bodies}) == 20


@pytest.mark.parametrize("encode", [base64.urlsafe_b64encode, base64.b64encode])
@pytest.mark.parametrize("padding", [True, False])
def test_keys_are_read_in_every_base64_variant(encode, padding):
    # A point and a secret whose base64 has both of the characters that differ.
    key, secret = private_key("AQ"), b"\xfb\xef\xbe\xff\xff\xff" + bytes(10)
    texts = [encode(data).decode() for data in (point(key), secret)]
    keys = parse_keys(*(texts if padding else [text.rstrip("=") for text in texts]))
    assert (keys.p256dh, keys.auth) == (point(key), secret)
    assert keys.public_key.public_numbers() == key.public_key().public_numbers()
    assert texts[0] not in repr(keys)


@pytest.mark.parametrize("p256dh", [
    "", "!", None, 7, "A", "ä" * 87, base64url(b"\x04" + bytes(64)), base64url(b"\x04" + b"\xff" * 64),
    base64url(b"\x02" + point(BROWSER)[1:33]), base64url(b"\x05" + point(BROWSER)[1:]), P256DH[:-2], P256DH + "AAAA",
    P256DH + "====", P256DH + "\n", base64url(b"\x00"),
])  # fmt: skip
def test_a_bad_public_key_is_refused(p256dh):
    with pytest.raises(InvalidSubscription) as refusal:
        parse_keys(p256dh, AUTH)
    assert refusal.value.field == "p256dh"


@pytest.mark.parametrize(
    "auth", ["", None, "A", AUTH[:-2], AUTH + "AA", "*" * 22, base64url(bytes(15)), base64url(bytes(17))]
)
def test_a_bad_secret_is_refused(auth):
    with pytest.raises(InvalidSubscription) as refusal:
        parse_keys(P256DH, auth)
    assert refusal.value.field == "auth"


BODY = encrypt(b"hello", P256DH, AUTH)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "shorter"),
        (BODY[:90], "shorter"),
        (BODY + bytes(4096), "4096"),
        (BODY[:-1], "does not decrypt"),
        (BODY[:30] + b"\x00" + BODY[31:], "not a point"),
        (BODY[:16] + (17).to_bytes(4, "big") + BODY[20:], "exactly one record"),
        (BODY[:16] + (18).to_bytes(4, "big") + BODY[20:], "exactly one record"),
        (BODY[:20] + b"\x40" + BODY[21:], "key id"),
    ],
)
def test_a_damaged_body_is_refused_with_a_reason(body, why):
    with pytest.raises(ValueError, match=why):
        decrypt(body, BROWSER, SECRET)


def test_another_subscription_cannot_decrypt_it():
    with pytest.raises(ValueError, match="does not decrypt"):
        decrypt(BODY, BROWSER, RANDOM.randbytes(16))


@pytest.mark.parametrize("padded", [b"hello", b"hello\x01", b"", b"\x00\x00"])
def test_a_record_without_the_last_delimiter_is_refused(padded):
    sender, salt = RANDOM.private_key(), RANDOM.randbytes(16)
    shared = sender.exchange(ec.ECDH(), BROWSER.public_key())
    key, nonce = encryption._derive(shared, SECRET, point(BROWSER), point(sender), salt)
    header = salt + (4096).to_bytes(4, "big") + b"\x41" + point(sender)
    body = header + AESGCM(key).encrypt(nonce, padded, None)
    with pytest.raises(ValueError, match=r"delimiter|shorter"):
        decrypt(body, BROWSER, SECRET)


def test_padding_is_removed():
    sender, salt = RANDOM.private_key(), RANDOM.randbytes(16)
    shared = sender.exchange(ec.ECDH(), BROWSER.public_key())
    key, nonce = encryption._derive(shared, SECRET, point(BROWSER), point(sender), salt)
    header = salt + (4096).to_bytes(4, "big") + b"\x41" + point(sender)
    assert decrypt(header + AESGCM(key).encrypt(nonce, b"hi\x02" + bytes(9), None), BROWSER, SECRET) == b"hi"
