import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_webpush_kit.exceptions import InvalidSubscription
from django_webpush_kit.protocol.endpoints import (
    DEFAULT_PUSH_SERVICES,
    Endpoint,
    EndpointPolicy,
    check_click_url,
    endpoint_hash,
    push_service,
    split_allowed_host,
)

from .hostile_endpoints import HOSTILE_ADDRESSES, HOSTILE_URLS, OPEN_MODE_URLS

OPEN = EndpointPolicy(allowed_hosts=("*",))
PRIVATE = EndpointPolicy(allow_private=True)
WITH_PORTS = EndpointPolicy(
    allowed_hosts=(*DEFAULT_PUSH_SERVICES, "push.example.org:8443", ".example.net:8443", "[2606:4700::1111]:8443")
)


@pytest.mark.parametrize("url", HOSTILE_URLS)
def test_a_hostile_endpoint_is_refused_with_a_reason(url):
    for policy in (EndpointPolicy(), WITH_PORTS):
        with pytest.raises(InvalidSubscription, match=r"^(The endpoint|Allowed push services) .+\.$") as refusal:
            policy.check(url)
        assert refusal.value.field == "endpoint"


@pytest.mark.parametrize("url", [url for url in HOSTILE_URLS if url not in OPEN_MODE_URLS])
def test_open_mode_allows_only_public_hosts(url):
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
def test_a_public_address_is_allowed(address):
    assert EndpointPolicy().address_refusal(address) == ""
    assert PRIVATE.address_refusal(address) == ""


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.1.2.3", "172.20.0.2", "192.168.1.7", "fd12::1"])
def test_private_addresses_can_be_allowed(address):
    assert PRIVATE.address_refusal(address) == ""


@pytest.mark.parametrize("address", ["169.254.169.254", "168.63.129.16", "0.0.0.0", "ff02::1", "::ffff:127.0.0.1"])
def test_metadata_services_are_refused_even_if_private_addresses_are_allowed(address):
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
def test_real_endpoints_of_browsers_are_allowed(url, origin, host):
    endpoint = EndpointPolicy().check(url)
    assert (endpoint.url, endpoint.origin, endpoint.host, endpoint.port) == (url, origin, host, 443)
    assert endpoint == Endpoint.parse(url)
    assert not endpoint.is_address


@pytest.mark.parametrize(
    ("url", "normalised"),
    [
        ("HTTPS://FCM.GoogleAPIs.com/Ab", "https://fcm.googleapis.com/Ab"),
        ("https://fcm.googleapis.com:443/Ab", "https://fcm.googleapis.com/Ab"),
    ],
)
def test_everything_but_the_path_of_an_endpoint_is_normalised(url, normalised):
    assert EndpointPolicy().check(url).url == normalised


@pytest.mark.parametrize("url", [None, 7, b"https://fcm.googleapis.com/x", ["https://fcm.googleapis.com/x"]])
def test_an_endpoint_that_is_not_text_is_refused(url):
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
def test_private_endpoints_can_be_allowed(url):
    assert PRIVATE.check(url).url == url.replace(":80/", "/")


@pytest.mark.parametrize("url", ["https://8.8.8.8/x", "https://evil.example/x", "http://metadata/x", "http://0/x"])
def test_allowing_private_endpoints_allows_no_other_public_hosts(url):
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
def test_an_accepted_endpoint_never_leads_to_another_host(text):
    for url in (text, f"https://{text}", f"https://fcm.googleapis.com{text}"):
        try:
            endpoint = EndpointPolicy().check(url)
        except InvalidSubscription:
            continue
        assert endpoint.origin == "https://fcm.googleapis.com"
        assert endpoint.url.removeprefix(endpoint.origin)[:1] in ("", "/", "?")


class TestPorts:
    @pytest.mark.parametrize(
        "url",
        [
            "https://push.example.org:8443/wpush/v2/gAAA",
            "https://PUSH.example.org:8443/x",
            "https://a.b.example.net:8443/x",
            "https://[2606:4700::1111]:8443/x",
            "https://fcm.googleapis.com/x",
        ],
    )
    def test_a_listed_port_is_allowed(self, url):
        endpoint = WITH_PORTS.check(url)
        assert endpoint.url.startswith(endpoint.origin)
        assert endpoint.port == (443 if "fcm" in url else 8443)

    @pytest.mark.parametrize(
        "url",
        [
            "https://push.example.org/x",
            "https://push.example.org:443/x",
            "https://push.example.org:8444/x",
            "http://push.example.org:8443/x",
            "https://push.example.org:08443/x",
            "https://example.net:8443/x",
            "https://push.example.net/x",
            "https://evilexample.net:8443/x",
            "https://push.example.org:8443.evil.example/x",
            "https://push.example.org:8443@evil.example/x",
            "https://evil.example:8443/x",
            "https://[2606:4700::1112]:8443/x",
            "https://fcm.googleapis.com:8443/x",
        ],
    )
    def test_other_ports_and_hosts_are_refused(self, url):
        with pytest.raises(InvalidSubscription):
            WITH_PORTS.check(url)

    def test_listing_the_default_port_allows_the_host(self):
        policy = EndpointPolicy(allowed_hosts=("push.example.org:443",))
        assert policy.check("https://push.example.org/x").origin == "https://push.example.org"

    def test_a_listed_host_may_use_any_port_if_private_endpoints_are_allowed(self):
        policy = EndpointPolicy(allowed_hosts=("push",), allow_private=True)
        assert policy.check("http://push:8000/x").port == 8000

    @pytest.mark.parametrize(
        ("entry", "host", "port"),
        [
            ("Push.Example.org", "push.example.org", 443),
            (".example.org:8443", ".example.org", 8443),
            ("8.8.8.8:8443", "8.8.8.8", 8443),
            ("[2606:4700::1111]", "2606:4700::1111", 443),
        ],
    )
    def test_valid_and_invalid_entries(self, entry, host, port):
        assert split_allowed_host(entry) == (host, port)

    @pytest.mark.parametrize(
        "entry",
        ["", ".", "*", "*.example.org", "https://push.example.org", "a b", "push.example.org:", "x:0", "x:65536", 7],
    )
    def test_an_invalid_entry_allows_nothing(self, entry):
        with pytest.raises(ValueError, match=r"host|address"):
            split_allowed_host(entry)
        if entry != "*":
            with pytest.raises(InvalidSubscription):
                EndpointPolicy(allowed_hosts=(entry,)).check("https://push.example.org/x")


def test_the_error_for_an_unlisted_endpoint_names_its_host_and_the_setting():
    with pytest.raises(InvalidSubscription) as refusal:
        EndpointPolicy().check("https://push.example.net/x?secret=1")
    assert (
        str(refusal.value) == "Allowed push services are listed in PUSH_SERVICES; push.example.net is not one of them."
    )
    with pytest.raises(InvalidSubscription, match=r"; push\.example\.net:8443 is not one of them\.$"):
        EndpointPolicy().check("https://push.example.net:8443/x")
    with pytest.raises(InvalidSubscription, match=r"must use port 443, or PUSH_SERVICES must list x\.example:8443\."):
        OPEN.check("https://x.example:8443/x")


class TestParsing:
    def test_a_parsed_endpoint_is_checked_without_being_parsed_again(self):
        endpoint = Endpoint.parse("https://fcm.googleapis.com/x")
        assert EndpointPolicy().check(endpoint) is endpoint
        with pytest.raises(InvalidSubscription):
            EndpointPolicy(allowed_hosts=()).check(endpoint)

    @pytest.mark.parametrize(
        ("url", "origin"),
        [
            ("HTTPS://FCM.googleapis.com:443/x", "https://fcm.googleapis.com"),
            ("https://push.example.com:8443?x=https://evil.example/", "https://push.example.com:8443"),
            ("http://localhost:80/x", "http://localhost"),
            ("http://[::1]:443/x", "http://[::1]:443"),
            ("https://[2606:4700:0:0::1111]/x", "https://[2606:4700::1111]"),
        ],
    )
    def test_the_origin(self, url, origin):
        assert Endpoint.parse(url).origin == origin

    def test_one_endpoint_has_one_hash_in_every_spelling(self):
        hashes = {
            Endpoint.parse(url).hash for url in ("HTTPS://FCM.googleapis.com:443/Ab", "https://fcm.googleapis.com/Ab")
        }
        assert hashes == {endpoint_hash("https://fcm.googleapis.com/Ab")}
        assert Endpoint.parse("https://fcm.googleapis.com/ab").hash not in hashes

    @pytest.mark.parametrize("text", ["", "no URL", "\ud800", "https://x#"])
    def test_text_that_is_not_an_endpoint_has_a_hash_and_no_push_service(self, text):
        assert len(endpoint_hash(text)) == 64
        assert push_service(text) == ""


# The endpoints that these push services hand out: their form, with made-up tokens.
MOZILLA = "updates.push.services.mozilla.com"
WIRE_FORMS = {
    "autopush": (f"https://{MOZILLA}/wpush/v2/gAAAAABm-x_Zq0=", MOZILLA),
    "autopush before VAPID": (f"https://{MOZILLA}/wpush/v1/gAAAAABm", MOZILLA),
    "autopush on a port": ("https://autopush.example.org:8443/wpush/v2/gAAAAABm-x_Zq0=", "autopush.example.org:8443"),
    "KaiOS": ("https://push.kaiostech.com:8443/wpush/v2/gAAAAABm-x_Zq0=", "push.kaiostech.com:8443"),
    "ntfy.sh": ("https://ntfy.sh/upQ3xZbVd6Ykx2?up=1", "ntfy.sh"),
    "ntfy on a port": ("https://ntfy.example.org:8443/upQ3xZbVd6Ykx2?up=1", "ntfy.example.org:8443"),
    "NextPush": (
        "https://cloud.example.org/index.php/apps/uppush/push/0f8fad5b-d9cb-469f-a165-70867728950e",
        "cloud.example.org",
    ),
    "NextPush on a port": ("https://cloud.example.org:8443/apps/uppush/push/0f8fad5b", ".example.org:8443"),
}


@pytest.mark.parametrize("form", WIRE_FORMS)
def test_self_hosted_push_services_are_allowed_once_listed(form):
    url, entry = WIRE_FORMS[form]
    assert EndpointPolicy(allowed_hosts=(entry,)).check(url).url == url


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
def test_links_that_a_click_may_open(url):
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
def test_links_that_a_click_may_not_open(url):
    with pytest.raises(ValueError, match=r"URL"):
        check_click_url(url)


def test_icons_may_be_data_urls():
    assert check_click_url("data:image/png;base64,AA", allow_data=True)
    with pytest.raises(ValueError, match="path"):
        check_click_url("data:text/html,x", allow_data=True)
