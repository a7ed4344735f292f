import base64
import json
import pickle
import threading

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from py_vapid import Vapid02

from django_webpush_kit.exceptions import InvalidSubscription
from django_webpush_kit.protocol import vapid
from django_webpush_kit.protocol.endpoints import Endpoint
from django_webpush_kit.protocol.vapid import (
    VapidKey,
    VapidSigner,
    check_subject,
    generate_vapid_keys,
    verify_authorization,
)
from tests.randomness import Randomness

PRIVATE = Randomness(__name__).private_key()
RAW = PRIVATE.private_numbers().private_value.to_bytes(32, "big")
KEY = VapidKey(PRIVATE)
ENDPOINT = "https://fcm.googleapis.com/fcm/send/abc"
AUDIENCE = "https://fcm.googleapis.com"
SUBJECT = "mailto:ops@example.com"
NOW = 1_800_000_000.0


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def private_bytes(encoding, layout, key=PRIVATE):
    return key.private_bytes(encoding, layout, serialization.NoEncryption())


PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER
PKCS8, SEC1 = serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL
FORMS = {
    "raw": RAW,
    "PKCS 8 PEM": private_bytes(PEM, PKCS8),
    "SEC 1 PEM": private_bytes(PEM, SEC1),
    "PKCS 8 DER": private_bytes(DER, PKCS8),
    "SEC 1 DER": private_bytes(DER, SEC1),
}


class TestLoading:
    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize("encode", [base64url, lambda data: base64.b64encode(data).decode()])
    def test_every_base64_form(self, form, encode):
        assert VapidKey.load(f" {encode(FORMS[form])}\n").public_key == KEY.public_key

    @pytest.mark.parametrize("form", ["PKCS 8 PEM", "SEC 1 PEM"])
    def test_pem_text_also_as_one_line_of_an_env_file(self, form):
        text = FORMS[form].decode()
        assert VapidKey.load(text).public_key == KEY.public_key
        assert VapidKey.load(text.replace("\n", "\\n")).public_key == KEY.public_key

    @pytest.mark.parametrize("content", [*FORMS.values(), base64url(RAW).encode() + b"\n"])
    def test_files(self, tmp_path, content):
        if content == RAW:
            content = base64.b64encode(RAW)
        path = tmp_path / "vapid.key"
        path.write_bytes(content)
        assert VapidKey.load(path).public_key == KEY.public_key
        assert VapidKey.load(str(path)).public_key == KEY.public_key

    def test_a_missing_file_is_an_error_and_creates_no_key(self, tmp_path):
        with pytest.raises(ValueError, match="missing file"):
            VapidKey.load(tmp_path / "missing.pem")
        assert list(tmp_path.iterdir()) == []

    def test_a_directory_or_another_file_is_an_error(self, tmp_path):
        with pytest.raises(ValueError, match="is a directory"):
            VapidKey.load(str(tmp_path))
        (tmp_path / "notes.txt").write_text("no key at all")
        with pytest.raises(ValueError, match="no key in a known form"):
            VapidKey.load(tmp_path / "notes.txt")

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "secret-but-wrong",
            "s\x00ecret",
            base64url(RAW)[:-4],
            base64url(bytes(32)),
            base64url(b"\xff" * 32),
            "A",
            base64url(b"\x30\x82secret"),
            "-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----",
            PRIVATE.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode(),
            PRIVATE.private_bytes(PEM, PKCS8, serialization.BestAvailableEncryption(b"x")).decode(),
            private_bytes(PEM, PKCS8, ec.generate_private_key(ec.SECP384R1())).decode(),
            private_bytes(PEM, PKCS8, ed25519.Ed25519PrivateKey.generate()).decode(),
            "x" * 5000,
        ],
    )
    def test_the_error_for_a_malformed_key_does_not_show_it(self, text):
        with pytest.raises(ValueError, match="VAPID private key") as error:
            VapidKey.load(text)
        assert len(text) < 4 or text.strip()[:12] not in str(error.value)
        assert error.value.__cause__ is None


class TestKeys:
    def test_generated_keys_are_base64_encoded_pem(self):
        keys = generate_vapid_keys()
        assert list(keys) == ["private_key", "public_key"]
        assert base64.urlsafe_b64decode(keys["private_key"] + "==").startswith(b"-----BEGIN PRIVATE KEY-----")
        assert len(keys["public_key"]) == 87
        assert VapidKey.load(keys["private_key"]).public_key == keys["public_key"]

    def test_repr_does_not_show_the_private_key(self):
        assert repr(KEY) == f"<VapidKey {KEY.key_id}>"
        assert len(KEY.key_id) == 16
        with pytest.raises(TypeError, match="pickled"):
            pickle.dumps(KEY)

    def test_pem_and_line_can_be_read_again(self):
        assert VapidKey.load(KEY.pem()).key_id == KEY.key_id
        assert VapidKey.load(KEY.encoded_private_key()).key_id == KEY.key_id


class TestSubject:
    @pytest.mark.parametrize("subject", ["mailto:ops@example.com", "https://example.com/contact"])
    def test_a_contact_is_accepted(self, subject):
        assert check_subject(subject) == subject

    @pytest.mark.parametrize(
        "subject",
        [
            "",
            None,
            "ops@example.com",
            "mailto:",
            "mailto:ops",
            "mailto:@example.com",
            "mailto:ops@localhost",
            "mailto:ops@LOCALHOST.",
            "mailto:ops@mail.localhost",
            "mailto: ops@example.com",
            "mailto:<ops@example.com>",
            "mailto:ops@exa_mple.com",
            "https://",
            "https://localhost/",
            "http://example.com",
            "mailto:öps@example.com",
            "mailto:ops@example.com\n",
        ],
    )
    def test_subjects_that_push_services_refuse_are_refused(self, subject):
        with pytest.raises(ValueError, match="VAPID subject"):
            check_subject(subject)


class TestSigner:
    def test_a_token_has_audience_subject_and_expiry(self):
        header = VapidSigner(KEY, SUBJECT).authorization(ENDPOINT, NOW)
        verified = verify_authorization(header, audience=AUDIENCE, now=NOW)
        assert verified.claims == {"aud": AUDIENCE, "exp": int(NOW) + 12 * 3600, "sub": SUBJECT}
        assert verified.public_key == KEY.public_key
        assert Vapid02.verify(header.replace(", k=", ",k="))

    def test_a_token_is_for_the_endpoints_origin(self):
        signer = VapidSigner(KEY, SUBJECT)
        for endpoint in ("https://push.example.com:8443/x", Endpoint.parse("https://PUSH.example.com:8443/y")):
            header = signer.authorization(endpoint, NOW)
            assert verify_authorization(header, audience="https://push.example.com:8443", now=NOW)
        with pytest.raises(InvalidSubscription):
            signer.authorization("https://user@push.example.com/x")

    def test_the_current_time_is_the_default(self, time_machine):
        time_machine.move_to(NOW)
        header = VapidSigner(KEY, SUBJECT).authorization(ENDPOINT)
        assert verify_authorization(header, audience=AUDIENCE, now=NOW).claims["exp"] == NOW + 12 * 3600

    def test_a_token_is_reused_for_half_its_lifetime(self):
        signer = VapidSigner(KEY, SUBJECT, lifetime=2 * 3600)
        first = signer.authorization(ENDPOINT, NOW)
        assert signer.authorization(ENDPOINT + "/other", NOW + 3599) == first
        assert signer.authorization("https://web.push.apple.com/x", NOW) != first
        second = signer.authorization(ENDPOINT, NOW + 3600)
        assert second != first
        assert verify_authorization(second, audience=AUDIENCE, now=NOW + 3600)

    def test_a_clock_set_back_makes_a_new_token(self):
        signer = VapidSigner(KEY, SUBJECT)
        future = signer.authorization(ENDPOINT, NOW + 20 * 3600)
        header = signer.authorization(ENDPOINT, NOW)
        assert header != future
        assert verify_authorization(header, audience=AUDIENCE, now=NOW)

    def test_the_token_cache_is_bounded(self, monkeypatch):
        monkeypatch.setattr(vapid, "_MAX_AUDIENCES", 2)
        signer = VapidSigner(KEY, SUBJECT)
        tokens = [signer.authorization(f"https://{n}.example/", NOW) for n in range(3)]
        assert len(signer._values) == 2
        assert signer.authorization("https://2.example/", NOW) == tokens[2]
        assert signer.authorization("https://0.example/", NOW) != tokens[0]

    def test_threads_share_one_token(self):
        signer, headers = VapidSigner(KEY, SUBJECT), []
        threads = [threading.Thread(target=lambda: headers.append(signer.authorization(ENDPOINT))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(headers) == 8
        assert len(set(headers)) == 1

    @pytest.mark.parametrize("lifetime", [0, 3600, 24 * 3600])
    def test_lifetimes_that_push_services_refuse_are_refused(self, lifetime):
        with pytest.raises(ValueError, match="lifetime"):
            VapidSigner(KEY, SUBJECT, lifetime)


class TestVerifying:
    def header(self, claims=None, header=None, key=KEY, public_key=None):
        claims = {"aud": AUDIENCE, "exp": NOW + 3600, "sub": SUBJECT} if claims is None else claims
        token = key.sign(claims)
        if header is not None:
            _, payload, signature = token.split(".")
            token = f"{base64url(json.dumps(header).encode())}.{payload}.{signature}"
        return f"vapid t={token}, k={public_key or key.public_key}"

    def refusal(self, header):
        with pytest.raises(ValueError) as error:  # noqa: PT011 - the callers look at the text
            verify_authorization(header, audience=AUDIENCE, now=NOW)
        return str(error.value)

    def test_the_form_of_the_header(self):
        for header in ("", "Bearer x", "WebPush a.b.c", f"vapid k={KEY.public_key}", self.header() + ", x=y"):
            assert "form" in self.refusal(header)
        assert verify_authorization(self.header().replace(", k", ",k"), audience=AUDIENCE, now=NOW)

    def test_another_audience(self):
        assert "audience" in self.refusal(self.header({"aud": AUDIENCE + "/", "exp": NOW + 9, "sub": SUBJECT}))

    @pytest.mark.parametrize("expires", [None, "soon", NOW, NOW - 1, NOW + 24 * 3600 + 1])
    def test_the_expiry(self, expires):
        assert "24 hours" in self.refusal(self.header({"aud": AUDIENCE, "exp": expires, "sub": SUBJECT}))

    def test_the_subject(self):
        assert "subject" in self.refusal(self.header({"aud": AUDIENCE, "exp": NOW + 9}))

    def test_the_algorithm(self):
        assert "ES256" in self.refusal(self.header(header={"alg": "none"}))
        assert "ES256" in self.refusal(self.header(header=["ES256"]))

    def test_the_signature(self):
        assert "does not match" in self.refusal(self.header(header={"alg": "ES256", "typ": "jwt"}))
        assert "does not match" in self.refusal(self.header(public_key=VapidKey.generate().public_key))
        assert "64 bytes" in self.refusal(self.header().replace(", k", "AAAA, k"))

    def test_garbage(self):
        assert "malformed" in self.refusal(f"vapid t=a.b.c, k={KEY.public_key}")
        assert "malformed" in self.refusal(self.header(public_key="A" * 87))
