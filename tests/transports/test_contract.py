"""What every network transport promises, over real connections on loopback."""

import asyncio
import gc
import itertools
import resource
import socket
import ssl
import threading
import time
from pathlib import Path

import certifi
import pytest
from django.core.exceptions import ImproperlyConfigured

from django_webpush_kit.protocol.encryption import decrypt
from django_webpush_kit.protocol.endpoints import Endpoint, EndpointPolicy, PushServer
from django_webpush_kit.protocol.responses import TransportError
from django_webpush_kit.protocol.vapid import verify_authorization
from django_webpush_kit.testing.certificates import write_certificate
from django_webpush_kit.transports import MAX_REPLY_BYTES, PyWebPushTransport
from django_webpush_kit.transports.network import trusted_certificates

from ..browser.waiting import wait_until
from ..protocol.hostile_endpoints import HOSTILE_URLS
from .fault_server import FaultServer
from .forking import in_child
from .tunnel_proxy import TunnelProxy


class AnyPort(EndpointPolicy):
    """The default rules for addresses behind a host list that lets everything through, as after a DNS rebinding."""

    def check(self, endpoint):
        scheme, _, rest = endpoint.partition("://")
        host, _, port = rest.partition("/")[0].rpartition(":")
        is_address = ":" in host or host.rpartition(".")[2].isdigit()
        origin = f"{scheme}://{host}:{port}"
        return Endpoint(endpoint, PushServer(scheme, host.strip("[]"), int(port), origin, host, is_address))


WAYS_TO_LOOPBACK = [
    "localhost",
    "LocalHost",
    "127.0.0.1",
    "127.0.0.2",
    "127.1",
    "0",
    "0.0.0.0",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "017700000001",
    "0177.0.0.1",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
]
"""What the system's resolver and sockets take for this machine."""

REFUSED = {TransportError.ADDRESS_REFUSED.value, TransportError.INVALID_ENDPOINT.value}


def listening(host):
    """Where a server must listen to be reached as `host`."""
    return "::1" if ":" in host and "ffff" not in host else "0.0.0.0"


def speaks_ipv6():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


class TestRequest:
    def test_the_browser_can_read_it_and_the_push_service_can_verify_it(self, send, server, browser):
        url = server.url("/status/201?token=a%2fb")
        response = send(url, payload="Grüße".encode(), ttl=7, urgency="high", topic="news")
        assert (response.status, response.error, response.body) == (201, "", b"")
        assert response.seconds > 0
        (request,) = server.received
        assert request.path == "/status/201?token=a%2fb"
        assert decrypt(request.body, browser.private_key, browser.secret).decode() == "Grüße"
        origin = f"https://localhost:{server.port}"
        assert verify_authorization(request.headers["authorization"], audience=origin, now=time.time())
        expected = {
            "ttl": "7",
            "urgency": "high",
            "topic": "news",
            "content-encoding": "aes128gcm",
            "content-type": "application/octet-stream",
            "content-length": str(len(request.body)),
            "user-agent": "django-webpush-kit",
            "host": f"localhost:{server.port}",
        }
        assert expected.items() <= request.headers.items()
        assert set(request.headers) - set(expected) <= {"authorization", "accept", "accept-encoding"}
        assert request.headers.get("accept-encoding", "identity") == "identity"

    def test_the_path_is_not_changed(self, send, server):
        send(server.url("/status/201/../201/./%2F//x"))
        assert server.received[0].path == "/status/201/../201/./%2F//x"

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
    def test_loopback_is_reached_where_it_is_allowed(self, send, server, host):
        assert send(server.url("/status/201", host)).status == 201

    def test_http_is_used_if_private_endpoints_are_allowed(self, send):
        with FaultServer() as server:
            assert send(server.url("/status/201")).status == 201


class TestBadRequests:
    @pytest.mark.parametrize(
        ("changes", "error"),
        [
            ({"p256dh": "AAAA"}, TransportError.INVALID_KEYS),
            ({"p256dh": "BP" + "_" * 85}, TransportError.INVALID_KEYS),
            ({"p256dh": None}, TransportError.INVALID_KEYS),
            ({"auth": "AAAA"}, TransportError.INVALID_KEYS),
            ({"endpoint": None}, TransportError.INVALID_ENDPOINT),
            ({"endpoint": "https://evil.example/"}, TransportError.INVALID_ENDPOINT),
            ({"topic": "a\r\nX: y"}, TransportError.INVALID_REQUEST),
            ({"urgency": "urgent"}, TransportError.INVALID_REQUEST),
            ({"ttl": "x"}, TransportError.INVALID_REQUEST),
            ({"payload": b"x" * 3994}, TransportError.INVALID_REQUEST),
            ({"payload": None}, TransportError.INVALID_REQUEST),
            ({"vapid_authorization": "vapid\r\nX: y"}, TransportError.INVALID_REQUEST),
            ({"vapid_authorization": None}, TransportError.INVALID_REQUEST),
        ],
    )
    def test_an_invalid_request_stops_no_other(self, make_transport, browser, server, changes, error):
        url = server.url("/status/201")
        requests = [browser.request(url, id=number) for number in range(5)]
        requests[2] = browser.request(**{"endpoint": url, "id": 2, **changes})
        responses = {response.id: response for response in make_transport().send(requests)}
        assert sorted(responses) == [0, 1, 2, 3, 4]
        assert responses.pop(2).error == error
        assert {response.status for response in responses.values()} == {201}
        assert len(server.received) == 4

    @pytest.mark.parametrize("policy", [EndpointPolicy(), EndpointPolicy(("*",))], ids=["listed", "open"])
    def test_hostile_endpoints_get_no_connection(self, make_transport, browser, server, policy):
        urls = [url for url in HOSTILE_URLS if policy.allowed_hosts != ("*",) or "evil" not in url]
        urls = [url.replace("127.0.0.1/", f"127.0.0.1:{server.port}/") for url in urls if "apis.com/x" not in url]
        urls += [server.url("/status/201"), server.url("/status/201", "127.0.0.1")]
        transport = make_transport(endpoint_policy=policy)
        hostile = [url for url in urls if not _passes(policy, url)]
        assert len(hostile) > 70
        responses = list(transport.send([browser.request(url) for url in hostile]))
        assert len(responses) == len(hostile)
        assert {response.error for response in responses} == {TransportError.INVALID_ENDPOINT.value}
        assert server.connections == 0

    @pytest.mark.parametrize("host", WAYS_TO_LOOPBACK)
    def test_a_name_that_resolves_to_loopback_gets_no_connection(self, make_transport, send, certificates, host):
        if ":" in host and not speaks_ipv6():
            pytest.skip("this machine has no IPv6")
        with FaultServer(certificate=str(certificates / "server.pem"), listen=listening(host)) as server:
            response = send(server.url("/status/201", host), make_transport(endpoint_policy=AnyPort()))
            assert response.error in REFUSED
            assert server.connections == 0
            socket.create_connection((host.strip("[]"), server.port)).close()
            wait_until(lambda: server.connections, "the connection")  # it does lead there


def _passes(policy, url):
    try:
        return bool(policy.check(url))
    except ValueError:
        return False


class TestReplies:
    @pytest.mark.parametrize("status", [200, 201, 204, 400, 404, 410, 413, 429, 500, 503])
    def test_a_status_is_reported(self, send, server, status):
        assert send(server.url(f"/status/{status}")).status == status

    def test_body_and_relevant_headers_are_reported(self, send, server):
        response = send(server.url("/header"))
        assert (response.status, response.headers, response.body) == (429, {"retry-after": "17"}, b"no")

    @pytest.mark.parametrize("status", range(300, 309))
    def test_a_redirect_is_never_followed(self, send, server, status):
        with FaultServer() as canary:
            assert send(server.url(f"/redirect/{status}/{canary.port}")).status == status
            assert canary.connections == 0

    def test_interim_responses_are_skipped(self, send, server):
        response = send(server.url("/early-hints"))
        assert (response.status, response.headers) == (201, {})

    @pytest.mark.parametrize(
        ("path", "errors"),
        [
            ("/reset", {TransportError.RESET}),
            ("/close", {TransportError.RESET}),
            ("/half-head", {TransportError.RESET, TransportError.PROTOCOL}),
            ("/garbage", {TransportError.PROTOCOL}),
            ("/endless-headers", {TransportError.PROTOCOL}),
            ("/endless-interim", {TransportError.PROTOCOL}),
        ],
    )
    def test_a_broken_reply_is_an_error(self, send, server, path, errors):
        response = send(server.url(path))
        assert response.status is None
        assert response.error in errors
        assert server.bytes_sent < 20_000_000

    @pytest.mark.parametrize("path", ["/silent", "/drip-head"])
    def test_a_slow_reply_is_cut_off_at_the_deadline(self, make_transport, send, server, path):
        response = send(server.url(path), make_transport(timeout=0.4))
        assert response.error == TransportError.TIMEOUT.value
        assert 0.3 < response.seconds < 4

    @pytest.mark.parametrize(("path", "status"), [("/late", 201), ("/silent", None)])
    def test_the_time_of_a_busy_caller_does_not_count(self, make_transport, send, browser, server, path, status):
        transport = make_transport(timeout=0.6)
        send(server.url("/status/201"), transport)  # a connection to go on with

        def requests():
            yield browser.request(server.url(path))
            yield None
            time.sleep(1.2)  # such as for a lock in the database

        (response,) = transport.send(requests())
        assert response.status == status
        assert response.error == ("" if status else TransportError.TIMEOUT.value)

    @pytest.mark.parametrize("path", ["/half-body", "/drip-body"])
    def test_the_status_counts_even_if_the_body_breaks_off(self, make_transport, send, server, path):
        response = send(server.url(path), make_transport(timeout=0.4))
        assert (response.status, response.error) == (201, "")

    @pytest.mark.parametrize("path", ["/endless-chunks", "/endless-trailers"])
    def test_an_endless_frame_is_cut_off(self, send, server, path):
        response = send(server.url(path))
        assert (response.status, response.error) == (500, "")
        assert server.bytes_sent < 20_000_000

    def test_a_chunked_body_is_read(self, send, server):
        response = send(server.url("/chunked"))
        assert (response.status, response.body) == (400, b"VAPID")

    def test_a_compressed_body_is_not_expanded(self, send, server):
        response = send(server.url("/gzip"))
        assert (response.status, len(response.body)) == (400, MAX_REPLY_BYTES)

    def test_an_endless_body_is_cut_off(self, send, server):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        response = send(server.url("/huge-body"))
        assert (response.status, len(response.body)) == (500, MAX_REPLY_BYTES)
        assert server.bytes_sent < 50_000_000
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


class TestConnecting:
    def test_an_untrusted_certificate_is_refused(self, make_transport, send, server, tmp_path):
        write_certificate(tmp_path)
        response = send(server.url("/status/201"), make_transport(ca_bundle=tmp_path / "ca.pem"))
        assert response.error == TransportError.TLS.value
        assert server.received == []

    def test_a_certificate_for_another_name_is_refused(self, send, certificates):
        with FaultServer(certificate=str(certificates / "server.pem"), listen="127.0.0.2") as server:
            assert send(server.url("/status/201", "127.0.0.2")).error == TransportError.TLS.value

    def test_a_server_without_tls_is_refused(self, send):
        with FaultServer() as plain:
            response = send(plain.url("/status/201").replace("http:", "https:"))
            assert response.error == TransportError.TLS.value
            assert plain.received == []

    def test_a_refused_connection_is_an_error(self, send):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        assert send(f"https://localhost:{port}/").error == TransportError.CONNECT.value

    def test_an_unknown_host_name_is_an_error(self, make_transport, send):
        policy = EndpointPolicy(allowed_hosts=("push.invalid",))
        assert send("https://push.invalid/x", make_transport(endpoint_policy=policy)).error == TransportError.DNS.value

    def test_proxies_and_certificates_from_the_environment_are_ignored(self, send, server, monkeypatch, tmp_path):
        with FaultServer() as proxy:
            for name in ("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY"):
                monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
            for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
                monkeypatch.setenv(name, str(tmp_path / "missing.pem"))
            assert send(server.url("/status/201")).status == 201
            assert proxy.connections == 0

    def test_a_certificate_that_only_the_environment_trusts_is_refused(
        self, make_transport, send, server, monkeypatch, certificates
    ):
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
            monkeypatch.setenv(name, str(certificates / "ca.pem"))
        assert send(server.url("/status/201"), make_transport(ca_bundle=None)).error == TransportError.TLS.value


class TestProxy:
    def test_requests_go_through_it(self, make_transport, send, server):
        with TunnelProxy(server.port) as proxy:
            # The proxy is on loopback and resolves names itself: addresses are its business.
            policy = EndpointPolicy(allowed_hosts=("localhost",), allow_private=True)
            transport = make_transport(proxy=f"http://127.0.0.1:{proxy.port}", endpoint_policy=policy)
            assert send(server.url("/status/201"), transport).status == 201
            assert proxy.targets == [f"localhost:{server.port}"]

    def test_it_can_be_given_without_a_scheme(self, make_transport, send, server):
        with TunnelProxy(server.port) as proxy:
            assert send(server.url("/status/201"), make_transport(proxy=f"127.0.0.1:{proxy.port}")).status == 201
            assert proxy.targets == [f"localhost:{server.port}"]

    def test_it_gets_the_credentials_and_the_push_service_does_not(self, make_transport, send, server):
        with TunnelProxy(server.port) as proxy:
            transport = make_transport(proxy=f"http://ada:p%40ss@127.0.0.1:{proxy.port}")
            assert send(server.url("/status/201"), transport).status == 201
            assert b"Proxy-Authorization: Basic YWRhOnBAc3M=" in proxy.heads[0]
            assert "proxy-authorization" not in server.received[0].headers

    def test_http_is_forwarded(self, make_transport, send):
        with FaultServer() as proxy:
            transport = make_transport(proxy=f"http://ada:x@127.0.0.1:{proxy.port}")
            assert send("http://localhost:7/status/201", transport).status is not None
            (request,) = proxy.received
            assert request.path == "http://localhost:7/status/201"
            assert request.headers["host"] == "localhost:7"
            assert request.headers["proxy-authorization"] == "Basic YWRhOng="

    def test_a_silent_one_is_cut_off_at_the_deadline(self, make_transport, send, server):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            transport = make_transport(proxy=f"127.0.0.1:{silent.getsockname()[1]}", timeout=0.4)
            assert send(server.url("/status/201"), transport).error == TransportError.TIMEOUT.value

    def test_an_address_is_refused(self, make_transport, send, server):
        with TunnelProxy(server.port) as proxy:
            transport = make_transport(proxy=f"http://127.0.0.1:{proxy.port}")
            response = send(server.url("/status/201", "127.0.0.1"), transport)
            assert response.error == TransportError.ADDRESS_REFUSED.value
            assert proxy.targets == []

    def test_its_refusal_is_not_taken_for_an_answer_of_the_push_service(self, make_transport, send, server):
        with TunnelProxy(server.port, answer=b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n") as proxy:
            response = send(server.url("/status/201"), make_transport(proxy=f"http://127.0.0.1:{proxy.port}"))
            assert (response.status, response.error) == (None, TransportError.CONNECT.value)


class TestBounds:
    def test_requests_are_pulled_lazily_and_in_the_callers_thread(self, make_transport, browser, server):
        pulled = []

        def requests():
            for number in range(60):
                pulled.append(threading.get_ident())
                yield browser.request(server.url("/status/201"), id=number)

        responses = make_transport(max_in_flight=5).send(requests())
        taken = 0
        for _ in responses:
            taken += 1
            assert len(pulled) <= taken + 6
        assert taken == 60
        assert set(pulled) == {threading.get_ident()}

    @pytest.mark.parametrize("max_in_flight", [1, 3, 100])
    def test_every_request_has_one_response(self, make_transport, browser, server, max_in_flight):
        requests = [browser.request(server.url(f"/status/{200 + n % 2}"), id=n) for n in range(150)]
        responses = list(make_transport(max_in_flight=max_in_flight, timeout=60).send(requests))
        assert sorted(response.id for response in responses) == list(range(150))
        assert all(response.status == 200 + response.id % 2 for response in responses)
        assert server.connections <= max_in_flight

    def test_connections_are_kept_from_one_send_to_the_next(self, make_transport, send, server):
        transport = make_transport()
        for _ in range(5):
            assert send(server.url("/status/201"), transport).status == 201
        assert server.connections == 1

    def test_a_connection_that_the_server_closed_is_replaced_and_nothing_is_sent_twice(
        self, make_transport, send, server
    ):
        transport = make_transport()
        for _ in range(3):
            assert send(server.url("/then-close"), transport).status == 201
            wait_until(lambda: not server.open_connections, "the end of the connection")
        assert (server.connections, len(server.received)) == (3, 3)

    @pytest.mark.parametrize("fault", ["/close", "/reset"])
    def test_a_message_is_not_sent_more_than_twice_by_one_request(self, make_transport, browser, send, server, fault):
        """The server reads it on a connection that was kept, and ends the connection without an answer.

        The portable transport then reports that; libcurl sends it again, once.
        """
        transport = make_transport()
        kept = [browser.request(server.url("/late"), id=number) for number in range(8)]
        assert {response.status for response in transport.send(kept)} == {201}
        assert server.connections > 1
        assert send(server.url(fault), transport).error == TransportError.RESET.value
        number = sum(request.path == fault for request in server.received)
        assert number == 1 if isinstance(transport, PyWebPushTransport) else 1 <= number <= 2

    def test_no_requests_give_no_responses(self, make_transport):
        assert list(make_transport().send([])) == []


forks = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


class TestLife:
    @pytest.mark.thorough
    def test_a_caller_that_stops_early_leaves_nothing_behind(self, make_transport, browser, send, server):
        transport = make_transport()
        requests = [browser.request(server.url("/status/201")), browser.request(server.url("/silent"), id="slow")]
        responses = transport.send(itertools.chain(requests, [browser.request(server.url("/silent"), id="slower")]))
        assert next(responses).status == 201
        responses.close()
        assert send(server.url("/status/202"), transport).status == 202
        gc.collect()

    def test_requests_abandoned_by_one_caller_do_not_affect_another(self, make_transport, browser, send, server):
        transport = make_transport()
        others = transport.send([browser.request(server.url(path)) for path in ("/status/201", "/late/1")])
        abandoned = transport.send([browser.request(server.url(path)) for path in ("/status/201", "/silent")])
        assert (next(others).status, next(abandoned).status) == (201, 201)
        abandoned.close()
        assert [response.status for response in others] == [201]

    def test_closing_aborts_requests_in_flight(self, make_transport, browser, server):
        transport = make_transport(timeout=1)
        responses = transport.send([browser.request(server.url(f"/{name}")) for name in ("status/201", "silent")])
        assert next(responses).status == 201
        transport.close()
        assert next(responses).error in (TransportError.INTERNAL.value, TransportError.TIMEOUT.value)

    def test_an_error_in_the_callers_requests_reaches_the_caller(self, make_transport, browser, send, server):
        def requests():
            yield browser.request(server.url("/status/201"))
            raise LookupError

        transport = make_transport()
        with pytest.raises(LookupError):
            list(transport.send(requests()))
        assert send(server.url("/status/202"), transport).status == 202

    def test_it_can_be_used_again_after_closing(self, make_transport, send, server):
        transport = make_transport()
        threads = threading.active_count()
        transport.close()
        for _ in range(2):
            assert send(server.url("/status/201"), transport).status == 201
            transport.close()
        transport.close()
        assert threading.active_count() <= threads + 2  # the server's

    def test_it_works_under_a_running_event_loop(self, make_transport, send, server):
        async def main():
            return send(server.url("/status/201"), make_transport())

        assert asyncio.run(main()).status == 201

    def test_threads_may_share_it(self, make_transport, send, server):
        transport, statuses = make_transport(), []

        def work():
            statuses.extend(send(server.url("/status/201"), transport).status for _ in range(5))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert statuses == [201] * 20

    def test_nothing_stays_behind_when_each_send_has_a_thread_of_its_own(self, make_transport, send, server):
        # Django under ASGI: a thread for each request
        transport = make_transport()

        def one_request():
            thread = threading.Thread(target=send, args=(server.url("/status/201"), transport))
            thread.start()
            thread.join()

        one_request()
        before = (threading.active_count(), open_descriptors())
        for _ in range(30):
            one_request()
        assert (threading.active_count(), open_descriptors()) == before
        assert server.connections == 1

    def test_it_closes_idle_connections_and_threads(self, make_transport, browser, server, monkeypatch):
        monkeypatch.setattr(make_transport.transport_class, "idle_seconds", 0.2)
        transport = make_transport()
        before = (threading.active_count(), open_descriptors())
        for _ in range(2):
            requests = [browser.request(server.url("/status/201"), id=number) for number in range(5)]
            assert [response.status for response in transport.send(requests)] == [201] * 5
            wait_until(lambda: not server.open_connections, "the end of the connections")
            wait_until(lambda: (threading.active_count(), open_descriptors()) == before, "the end of the threads")

    def test_one_send_may_run_inside_another(self, make_transport, browser, send, server):
        transport = make_transport()
        requests = [browser.request(server.url("/status/201"), id=number) for number in range(3)]
        for response in transport.send(requests):
            assert response.status == 201
            assert send(server.url("/status/202"), transport).status == 202

    @forks
    def test_a_forked_child_opens_connections_of_its_own(self, make_transport, send, server):
        transport = make_transport()
        assert send(server.url("/status/201"), transport).status == 201
        assert in_child(lambda: send(server.url("/status/202"), transport).status) == 202
        assert server.connections == 2
        assert send(server.url("/status/203"), transport).status == 203
        assert server.connections == 2

    @forks
    def test_closing_in_a_forked_child_ends_nothing_of_the_parents(self, make_transport, browser, send, server):
        transport = make_transport()
        assert send(server.url("/status/201"), transport).status == 201
        responses = transport.send([browser.request(server.url(f"/status/{n}")) for n in (200, 201)])
        assert next(responses).error == ""

        def child():
            responses.close()
            transport.close()
            return 0

        assert in_child(child) == 0
        assert next(responses).error == ""
        assert list(responses) == []
        connections = server.connections
        assert send(server.url("/status/203"), transport).status == 203
        assert server.connections == connections


def open_descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


class TestOptions:
    def test_an_unknown_option_is_a_type_error(self, make_transport):
        with pytest.raises(TypeError, match="retries"):
            make_transport(retries=3)

    @pytest.mark.parametrize(
        "options",
        [
            {"timeout": 0},
            {"timeout": "30"},
            {"timeout": float("nan")},
            {"max_in_flight": 0},
            {"max_in_flight": 1.5},
            {"ca_bundle": "/missing.pem"},
            {"proxy": "proxy.example.com"},
            {"proxy": "https://proxy.example.com:3128"},
            {"proxy": "socks5://proxy.example.com:1080"},
            {"proxy": "http://proxy.example.com:99999"},
            {"proxy": "http://proxy.example.com:3128/path"},
            {"proxy": 3128},
        ],
        ids=str,
    )
    def test_an_invalid_option_is_an_error_that_names_it(self, make_transport, options):
        with pytest.raises(ImproperlyConfigured, match=next(iter(options))):
            make_transport(**options)

    def test_the_error_for_an_invalid_proxy_hides_its_password(self, make_transport):
        with pytest.raises(ImproperlyConfigured) as caught:
            make_transport(proxy="https://ada:secret@proxy.example.com:3128")
        assert "secret" not in str(caught.value)

    def test_the_defaults_trust_the_systems_certificates(self, make_transport, send, server):
        assert send(server.url("/status/201"), make_transport(ca_bundle=None)).error == TransportError.TLS.value

    @pytest.mark.parametrize("directory", ["missing", "empty"])
    def test_certifi_is_trusted_if_the_system_has_no_certificates(
        self, make_transport, send, server, monkeypatch, tmp_path, directory
    ):
        (tmp_path / "empty").mkdir()
        paths = ssl.get_default_verify_paths()._replace(
            openssl_cafile=str(tmp_path / "missing.pem"), openssl_capath=str(tmp_path / directory)
        )
        monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
        assert trusted_certificates(None) == (certifi.where(), None)
        assert send(server.url("/status/201"), make_transport(ca_bundle=None)).error == TransportError.TLS.value

    def test_the_certificate_file_of_the_system_takes_precedence_over_its_directory(self, monkeypatch, tmp_path):
        file = tmp_path / "cert.pem"
        file.touch()
        paths = ssl.get_default_verify_paths()._replace(openssl_cafile=str(file), openssl_capath=str(tmp_path))
        monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
        assert trusted_certificates(None) == (str(file), None)
        monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths._replace(openssl_cafile="/missing.pem"))
        assert trusted_certificates(None) == (None, str(tmp_path))
