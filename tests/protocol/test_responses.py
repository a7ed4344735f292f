import pytest

from django_webpush_kit.protocol.responses import (
    MAX_RETRY_AFTER,
    READ_HEADERS,
    Answer,
    Outcome,
    TransportError,
    classify,
    parse_retry_after,
    request_headers,
)

FCM, MOZILLA, APPLE, WNS = (
    "fcm.googleapis.com",
    "updates.push.services.mozilla.com",
    "push.apple.com",
    "notify.windows.com",
)
NOW = 1_800_000_000.0  # Fri, 15 Jan 2027 08:00:00 GMT


def answer(status, push_service=FCM, body=b"", error="", **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return classify(push_service=push_service, status=status, headers=headers, body=body, error=error, now=NOW)


@pytest.mark.parametrize("push_service", [FCM, MOZILLA, APPLE, WNS])
@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Outcome.ACCEPTED),
        (201, Outcome.ACCEPTED),
        (204, Outcome.ACCEPTED),
        (301, Outcome.REJECTED),
        (308, Outcome.REJECTED),
        (400, Outcome.REJECTED),
        (401, Outcome.CREDENTIALS),
        (403, Outcome.CREDENTIALS),
        (404, Outcome.GONE),
        (405, Outcome.REJECTED),
        (406, Outcome.THROTTLED),
        (408, Outcome.UNAVAILABLE),
        (410, Outcome.GONE),
        (413, Outcome.TOO_LARGE),
        (429, Outcome.THROTTLED),
        (500, Outcome.UNAVAILABLE),
        (502, Outcome.UNAVAILABLE),
        (503, Outcome.THROTTLED),
        (599, Outcome.UNAVAILABLE),
        (101, Outcome.REJECTED),
        (999, Outcome.UNAVAILABLE),
    ],
)
def test_each_status_has_its_outcome(push_service, status, outcome):
    result = answer(status, push_service)
    assert result.outcome is outcome
    assert result.reason.startswith(f"HTTP {status}")


def test_a_redirect_is_named():
    assert answer(307, location="https://evil.example/") == Answer(Outcome.REJECTED, None, "HTTP 307 redirect")


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (400, b"UnauthorizedRegistration", "UnauthorizedRegistration"),
        (400, b'{"reason":"VapidPkHashMismatch"}', "VapidPkHashMismatch"),
        (403, b'{"reason":"BadJwtToken"}', "BadJwtToken"),
        (400, b"the VAPID credentials in the authorization header <script>", "VAPID"),
        (401, b'{"errno": 109, "message": "secret"}', "HTTP 401"),
        (403, b"", "HTTP 403"),
    ],
)
def test_a_credentials_fault_has_a_reason_of_our_own(status, body, reason):
    assert answer(status, body=body) == Answer(Outcome.CREDENTIALS, None, reason)


@pytest.mark.parametrize("body", [b"Payload too large", b'{"reason":"PayloadTooLarge"}', b"MessageTooBig"])
def test_fcm_answers_400_for_too_large(body):
    assert answer(400, body=body).outcome is Outcome.TOO_LARGE


def test_a_bad_request_never_repeats_the_reply():
    assert answer(400, body=b"InvalidRequest <b>secret</b>") == Answer(Outcome.REJECTED, None, "HTTP 400")


def test_wns_may_accept_a_message_and_drop_it():
    assert answer(200, WNS, x_wns_status="received").outcome is Outcome.ACCEPTED
    assert answer(200, WNS, x_wns_status="Dropped") == Answer(Outcome.REJECTED, None, "WNS dropped")
    assert answer(200, WNS, x_wns_notificationstatus="dropped").outcome is Outcome.REJECTED


def test_a_throttled_wns_channel_does_not_affect_others():
    assert answer(200, WNS, x_wns_status="channelthrottled", x_wns_continue_after="60") == Answer(
        Outcome.UNAVAILABLE, 60, "WNS channelthrottled"
    )


def test_the_longest_requested_wait_counts():
    assert answer(406, WNS, x_wns_continue_after="30").retry_after == 30
    assert answer(429, WNS, x_wns_continue_after="30", retry_after="90").retry_after == 90
    assert answer(503, retry_after="soon").retry_after is None
    assert answer(500, retry_after="5").retry_after == 5


@pytest.mark.parametrize("error", list(TransportError))
def test_a_request_without_an_answer_is_retried_unless_it_was_invalid(error):
    permanent = {TransportError.INVALID_ENDPOINT, TransportError.INVALID_KEYS, TransportError.INVALID_REQUEST}
    outcome = Outcome.REJECTED if error in permanent else Outcome.UNAVAILABLE
    assert answer(None, error=error.value) == Answer(outcome, None, error.value)


def test_no_answer_and_no_error_is_unavailable():
    assert answer(None) == Answer(Outcome.UNAVAILABLE, None, "no answer")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        (" 120 ", 120),
        ("86401", MAX_RETRY_AFTER),
        ("9" * 5000, MAX_RETRY_AFTER),
        ("Fri, 15 Jan 2027 08:02:00 GMT", 120),
        ("Fri, 15 Jan 2027 08:02:00 -0000", 120),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0),
        ("Friday, 15-Jan-27 08:02:00 GMT", 120),
        ("Fri, 15 Jan 2099 08:02:00 GMT", MAX_RETRY_AFTER),
        ("-5", None),
        ("+5", None),
        ("1.5", None),
        ("1e3", None),
        ("٣", None),
        ("", None),
        ("soon", None),
        ("Fri, 99 Jan 2027 08:02:00 GMT", None),
        ("Fri, 15 Jan 99999999 08:02:00 GMT", None),
        ("\x00", None),
    ],
)
def test_retry_after_in_every_form(value, seconds):
    assert parse_retry_after(value, NOW) == seconds


def test_the_headers_of_a_request():
    assert request_headers(FCM, 60, "high", "news") == {
        "Content-Encoding": "aes128gcm",
        "Content-Type": "application/octet-stream",
        "TTL": "60",
        "Urgency": "high",
        "Topic": "news",
    }


@pytest.mark.parametrize(
    ("push_service", "ttl", "sent"),
    [
        (FCM, 0, "0"),
        (FCM, -5, "0"),
        (FCM, 9_999_999, "2419200"),
        (MOZILLA, 9_999_999, "2592000"),
        (APPLE, 0, "1"),
        (APPLE, 9_999_999, "2592000"),
    ],
)
def test_the_ttl_is_limited_to_the_maximum_of_the_push_service(push_service, ttl, sent):
    assert request_headers(push_service, ttl)["TTL"] == sent


def test_wns_gets_a_cache_policy_that_fits_the_ttl():
    assert request_headers(WNS, 0)["X-WNS-Cache-Policy"] == "no-cache"
    assert request_headers(WNS, 60)["X-WNS-Cache-Policy"] == "cache"
    assert "X-WNS-Cache-Policy" not in request_headers(FCM, 60)


def test_topics_for_apple_are_padded():
    assert request_headers(APPLE, 1, topic="abcde")["Topic"] == "abcde_"
    assert request_headers(APPLE, 1, topic="abcdef")["Topic"] == "abcdef"
    assert request_headers(FCM, 1, topic="abcde")["Topic"] == "abcde"


@pytest.mark.parametrize("topic", ["a" * 33, "a b", "a\r\nX: y", "ä", "a=", "a\n"])
def test_a_topic_that_is_not_base64url_is_refused(topic):
    with pytest.raises(ValueError, match="topic"):
        request_headers(FCM, 1, topic=topic)


def test_an_unknown_urgency_is_refused():
    with pytest.raises(ValueError, match="urgency"):
        request_headers(FCM, 1, "urgent")


def test_names_of_response_headers_are_lower_case():
    assert {name.lower() for name in READ_HEADERS} == READ_HEADERS
