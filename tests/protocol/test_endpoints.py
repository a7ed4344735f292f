import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_webpush_kit.exceptions import InvalidSubscription
from django_webpush_kit.protocol.endpoints import Endpoint, EndpointPolicy, check_click_url, push_service

from .hostile_endpoints import HOSTILE_ADDRESSES, HOSTILE_URLS, OPEN_MODE_URLS

OPEN = EndpointPolicy(allowed_hosts=("*",))
PRIVATE = EndpointPolicy(allow_private=True)


@pytest.mark.parametrize("url", HOSTILE_URLS)
def test_a_hostile_endpoint_is_refused_in_words(url):
    with pytest.raises(InvalidSubscription, match=r"^The endpoint .+\.$") as refusal:
        EndpointPolicy().check(url)
    assert refusal.value.field == "endpoint"


@pytest.mark.parametrize("url", [url for url in HOSTILE_URLS if url not in OPEN_MODE_URLS])
def test_open_mode_opens_nothing_but_public_hosts(url):
    with pytest.raises(InvalidSubscription):
        OPEN.check(url)


@pytest.mark.parametrize("url", OPEN_MODE_URLS)
def test_open_mode_allows_every_public_host(url):
    assert OPEN.check(url).url == url


@pytest.mark.parametrize("address", HOSTILE_ADDRESSES)
def test_no_connection_goes_to_a_hostile_address(address):
    assert EndpointPolicy().address_refusal(address)
    assert OPEN.address_refusal(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "142.250.74.10", "2606:4700::1111", "2a00:1450:4001::200a"])
def test_a_public_address_is_fine(address):
    assert EndpointPolicy().address_refusal(address) == ""
    assert PRIVATE.address_refusal(address) == ""


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.1.2.3", "172.20.0.2", "192.168.1.7", "fd12::1"])
def test_private_addresses_are_fine_where_they_are_allowed(address):
    assert PRIVATE.address_refusal(address) == ""


@pytest.mark.parametrize("address", ["169.254.169.254", "168.63.129.16", "0.0.0.0", "ff02::1", "::ffff:127.0.0.1"])
def test_metadata_services_stay_refused_where_private_addresses_are_allowed(address):
    assert PRIVATE.address_refusal(address)


@pytest.mark.parametrize(
    ("url", "origin", "host"),
    [
        ("https://fcm.googleapis.com/fcm/send/a:b", "https://fcm.googleapis.com", "fcm.googleapis.com"),
        (
            "https://updates.push.services.mozilla.com/wpush/v2/gAAA-_=",
            "https://updates.push.services.mozilla.com",
            "updates.push.services.mozilla.com",
        ),
        ("https://web.push.apple.com/Q", "https://web.push.apple.com", "web.push.apple.com"),
        ("https://api.eu.push.apple.com/Q", "https://api.eu.push.apple.com", "api.eu.push.apple.com"),
        (
            "https://wns2-by3p.notify.windows.com/w/?token=BQY%2b",
            "https://wns2-by3p.notify.windows.com",
            "wns2-by3p.notify.windows.com",
        ),
    ],
)
def test_the_endpoints_of_the_browsers_are_allowed(url, origin, host):
    assert EndpointPolicy().check(url) == Endpoint(url, origin, host)


@pytest.mark.parametrize(
    ("url", "normalised"),
    [
        ("HTTPS://FCM.GoogleAPIs.com/Ab", "https://fcm.googleapis.com/Ab"),
        ("https://fcm.googleapis.com:443/Ab", "https://fcm.googleapis.com/Ab"),
    ],
)
def test_an_endpoint_is_normalised_but_for_its_path(url, normalised):
    assert EndpointPolicy().check(url).url == normalised


@pytest.mark.parametrize("url", [None, 7, b"https://fcm.googleapis.com/x", ["https://fcm.googleapis.com/x"]])
def test_an_endpoint_that_is_no_text_is_refused(url):
    with pytest.raises(InvalidSubscription):
        EndpointPolicy().check(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8000/x",
        "https://localhost/x",
        "http://127.0.0.1/x",
        "http://127.0.0.1:80/x",
        "https://127.0.0.1:8443/x",
        "https://[::1]:8443/x",
        "http://192.168.1.7:8000/x",
    ],
)
def test_private_endpoints_pass_where_they_are_allowed(url):
    assert PRIVATE.check(url).url == url.replace(":80/", "/")


@pytest.mark.parametrize("url", ["https://8.8.8.8/x", "https://evil.example/x", "http://metadata/x", "http://0/x"])
def test_allowing_private_endpoints_allows_no_unlisted_public_ones(url):
    with pytest.raises(InvalidSubscription):
        PRIVATE.check(url)


def test_listed_hosts_may_be_addresses_and_short_names():
    policy = EndpointPolicy(allowed_hosts=("8.8.8.8", "Push.Example.com", "intranet"))
    assert policy.check("https://8.8.8.8/x").is_address
    assert not policy.check("https://push.example.com/x").is_address
    assert policy.check("https://intranet/x").host == "intranet"
    assert EndpointPolicy(allowed_hosts=("*",), allow_private=True).check("http://push:8000/x").host == "push"
    assert OPEN.check("https://[2606:4700::1111]/x").is_address


@given(st.text(max_size=80))
def test_nothing_that_is_let_through_leads_elsewhere(text):
    for url in (text, f"https://{text}", f"https://fcm.googleapis.com{text}"):
        try:
            endpoint = EndpointPolicy().check(url)
        except InvalidSubscription:
            continue
        assert endpoint.origin == "https://fcm.googleapis.com"
        assert endpoint.url.removeprefix(endpoint.origin)[:1] in ("", "/", "?")


@pytest.mark.parametrize(
    ("endpoint", "name"),
    [
        ("https://fcm.googleapis.com/fcm/send/x", "fcm.googleapis.com"),
        ("https://web.push.apple.com/x", "push.apple.com"),
        ("https://api.push.apple.com/x", "push.apple.com"),
        ("https://wns2-by3p.notify.windows.com/w/?token=x", "notify.windows.com"),
        ("https://updates.push.services.mozilla.com/x", "updates.push.services.mozilla.com"),
        ("https://PUSH.example.com:8443?x", "push.example.com"),
        ("http://[::1]:8000/x", "::1"),
    ],
)
def test_push_services_have_stable_names(endpoint, name):
    assert push_service(endpoint) == name


@pytest.mark.parametrize("url", ["", "/", "/orders/7?x=1#top", "https://shop.example/x", "/größe", "https://[::1]/x"])
def test_a_click_may_open(url):
    assert check_click_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "java\tscript:alert(1)",
        "\x01javascript:alert(1)",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        " /x",
        "/x\n",
        "/x\x85",
        "http://shop.example/",
        "https:evil.example",
        "https:///evil.example",
        "https://user@evil.example/",
        "https://[evil",
        "orders/7",
        "?x",
        "data:text/html,x",
        "data:image/png;base64,AA",
        "blob:https://x",
    ],
)
def test_a_click_may_not_open(url):
    with pytest.raises(ValueError, match=r"URL"):
        check_click_url(url)


def test_icons_may_be_data():
    assert check_click_url("data:image/png;base64,AA", allow_data=True)
    with pytest.raises(ValueError, match="path"):
        check_click_url("data:text/html,x", allow_data=True)
