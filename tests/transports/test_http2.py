"""`CurlTransport` over a real HTTP/2 server, Node's."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from django_webpush_kit.protocol.responses import TransportError
from django_webpush_kit.transports import MAX_REPLY_BYTES, CurlTransport

from .conftest import PRIVATE, needs_pycurl

pytestmark = [needs_pycurl, pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")]


@pytest.fixture
def http2_server(certificates):
    script = Path(__file__).with_name("http2_server.mjs")
    command = [shutil.which("node"), script, certificates / "server.pem"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        port = process.stdout.readline().strip()
        yield f"https://localhost:{port}"
        process.stdin.close()
        process.wait(10)


@pytest.fixture
def transport(certificates):
    transport = CurlTransport(ca_bundle=certificates / "ca.pem", endpoint_policy=PRIVATE, timeout=5)
    yield transport
    transport.close()


@pytest.fixture
def post(transport, browser, http2_server):
    """Sends requests to paths of the server and returns the responses by path."""

    def post(*paths):
        requests = [browser.request(http2_server + path, id=(number, path)) for number, path in enumerate(paths)]
        return {response.id: response for response in transport.send(requests)}

    return post


@pytest.fixture
def counts(post):
    return lambda: json.loads(post("/counts")[0, "/counts"].body)


@pytest.mark.thorough
def test_requests_share_connections_and_stay_within_the_streams_allowed(post, counts):
    assert [response.status for response in post("/status/201").values()] == [201]
    responses = post(*["/slow/500"] * 450)
    assert {response.status for response in responses.values()} == {201}
    assert 1 <= counts()["sessions"] <= 8
    assert counts()["most"] > 100


def test_connections_are_kept(post, counts):
    for _ in range(5):
        post("/status/201", "/status/410")
    assert counts()["sessions"] == 1


@pytest.mark.slow
def test_no_reply_stays_buffered_in_curl(post):
    # libcurl stops reading where one reply ends. What TLS holds of the others by then is of no interest to any socket:
    # about one call in 400 like this one used to wait for them until they timed out.
    for _ in range(1000):
        assert {response.error for response in post(*["/status/201"] * 90).values()} == {""}


def test_a_broken_stream_affects_no_other(post):
    responses = post("/slow/100", "/reset", "/status/201", "/half", "/huge", "/slow/50")
    assert [responses[number, path].status for number, path in sorted(responses)] == [201, None, 201, 201, 500, 201]
    assert responses[1, "/reset"].error == TransportError.RESET.value
    assert len(responses[4, "/huge"].body) <= MAX_REPLY_BYTES


def test_a_refused_stream_is_sent_again(post):
    # RFC 9113, section 8.7: the server has not looked at it.
    assert post("/refuseOnce")[0, "/refuseOnce"].status == 201


def test_a_connection_closed_by_goaway_is_replaced(post):
    for _ in range(3):
        assert post("/goaway")[0, "/goaway"].status == 201
    assert post("/status/201")[0, "/status/201"].status == 201


def test_a_connection_that_dies_is_replaced(post):
    assert post("/die")[0, "/die"].error == TransportError.RESET.value
    assert post("/status/201")[0, "/status/201"].status == 201


@pytest.mark.thorough
@pytest.mark.parametrize("fault", ["/die", "/refuse"])
def test_a_message_is_not_sent_more_than_twice_by_one_request(post, counts, fault):
    """libcurl repeats it on another connection: after a connection it had used before died, and as the server asks."""
    post(*["/slow/200"] * 450)
    assert counts()["sessions"] > 1
    assert post(f"{fault}/1")[0, f"{fault}/1"].error == TransportError.RESET.value
    assert 1 <= counts()["received"][f"{fault}/1"] <= 2


def test_the_other_messages_on_a_connection_that_dies_are_not_sent_more_than_twice(post, counts):
    paths = [f"/slow/300/{number}" for number in range(90)]
    post("/status/201")
    post(*paths, "/die/x")
    received = counts()["received"]
    assert {received[path] for path in paths} <= {1, 2}


def test_a_silent_stream_times_out_alone(post, transport):
    transport.timeout = 1
    responses = post("/silent", "/slow/100")
    assert responses[0, "/silent"].error == TransportError.TIMEOUT.value
    assert responses[1, "/slow/100"].status == 201


def test_a_caller_that_stops_early_leaves_a_working_connection(transport, browser, http2_server, post, counts):
    requests = [browser.request(http2_server + path) for path in ("/status/201", "/silent", "/silent")]
    responses = transport.send(requests)
    assert next(responses).status == 201
    responses.close()
    assert post("/status/202")[0, "/status/202"].status == 202
    assert counts()["sessions"] == 1
