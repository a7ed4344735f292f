"""Parse and check push endpoints, and check the URLs that a click may open.

Endpoints come from untrusted visitors, and the server sends requests to them. Strict rules prevent SSRF.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from urllib.parse import urlsplit

from django_webpush_kit.exceptions import InvalidSubscription

DEFAULT_PUSH_SERVICES: tuple[str, ...] = (
    "updates.push.services.mozilla.com",
    "fcm.googleapis.com",
    "jmt17.google.com",
    "android.googleapis.com",
    "web.push.apple.com",
    ".push.apple.com",
    ".notify.windows.com",
)
"""The hosts of the browsers' push services. A leading dot allows every subdomain."""

MAX_ENDPOINT_BYTES = 2048

ANY_HOST = "*"
"""Open mode: every public host is allowed."""


@dataclass(frozen=True, slots=True, eq=False)
class PushServer:
    """The server of an endpoint: `host` in lower case, without brackets; `origin` as in RFC 6454.

    `push_service` is a stable name: the host, or one name for all hosts of a push service. `is_address` is true if the
    host is a literal IP address.
    """

    scheme: str
    host: str
    port: int
    origin: str
    push_service: str
    is_address: bool

    @property
    def netloc(self) -> str:
        """The host, and the port unless it is the scheme's default, as in `PUSH_SERVICES`."""
        return self.origin.partition("://")[2]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A parsed endpoint. Checks, VAPID audience, stored columns and connections all use the same parsed values.

    `url` is normalized: scheme and host in lower case, no default port. Path and query are unchanged.
    """

    url: str
    server: PushServer = field(compare=False, repr=False)

    @classmethod
    def parse(cls, url: str) -> Endpoint:
        """Parse an http or https URL. Raises `InvalidSubscription(field="endpoint")` for malformed or ambiguous URLs.

        `EndpointPolicy.check` decides whether messages may be sent there.
        """
        scheme, authority, rest = _split(url)
        server = _server(scheme, authority)
        return cls(server.origin + rest, server)

    @property
    def origin(self) -> str:
        """Scheme, host and port: the audience of a VAPID token."""
        return self.server.origin

    @property
    def host(self) -> str:
        """The host, in lower case, without brackets."""
        return self.server.host

    @property
    def port(self) -> int:
        """The port to connect to."""
        return self.server.port

    @property
    def push_service(self) -> str:
        """The stable name of the push service."""
        return self.server.push_service

    @property
    def is_address(self) -> bool:
        """Whether the host is a literal IP address."""
        return self.server.is_address

    @property
    def hash(self) -> str:
        """SHA-256 of the URL, as hexadecimal text."""
        return endpoint_hash(self.url)


@dataclass(frozen=True, slots=True)
class EndpointPolicy:
    """The rules for endpoints: an allow-list of hosts, strict URLs, no private networks.

    `allowed_hosts` contains exact hosts ("push.example.com"), ".example.com" for subdomains, or "*" for every public
    host. Ports other than 443 must be listed ("push.example.com:8443"). `allow_private` (tests and local demos only)
    also allows loopback, private addresses and `localhost`, on any port, with http or https.
    """

    allowed_hosts: tuple[str, ...] = DEFAULT_PUSH_SERVICES
    allow_private: bool = False

    def check(self, endpoint: str | Endpoint) -> Endpoint:
        """Return the parsed endpoint. Raises `InvalidSubscription(field="endpoint")` if it is refused."""
        if not isinstance(endpoint, Endpoint):
            endpoint = Endpoint.parse(endpoint)
        refusal = _refusal(self, endpoint.server)
        if refusal:
            raise InvalidSubscription(refusal, field="endpoint")
        return endpoint

    def address_refusal(self, ip: str) -> str:
        """Return the reason why connections to this IP address are refused, or ""."""
        try:
            address = ipaddress.ip_address(ip)
        except ValueError:
            return "is not an IP address"
        if getattr(address, "scope_id", None):
            return "has a scope"
        if self.allow_private and _is_in(address, _PRIVATE_NETWORKS):
            return ""
        if address.version == 6 and not _is_in(address, _PUBLIC_IPV6):
            return "is not public"
        if not address.is_global or _is_in(address, _REFUSED_NETWORKS):
            return "is not public"
        return ""


def push_service(url: str) -> str:
    """Return the name of an endpoint's push service, or "" for an invalid endpoint."""
    try:
        return Endpoint.parse(url).push_service
    except InvalidSubscription:
        return ""


def endpoint_hash(url: str) -> str:
    """Return the SHA-256 of the endpoint in hexadecimal. Subscriptions are unique by it and looked up by it."""
    return sha256(url.encode(errors="surrogatepass")).hexdigest()


def check_click_url(url: str, *, allow_data: bool = False) -> str:
    """Return `url` if a click may open it or an icon may be loaded from it. Otherwise raise ValueError.

    Allowed are "", a path of the same origin ("/orders/7?x=1"), an https URL, and with `allow_data` a `data:image/`
    URL. URLs that a browser could take for another origin or a script are refused.
    """
    if any(character <= " " or "\x7f" <= character <= "\xa0" or character == "\\" for character in url):
        raise ValueError("A URL must not contain spaces, control characters or backslashes.")
    if not url or (url.startswith("/") and not url.startswith("//")):
        return url
    if allow_data and url.startswith("data:image/"):
        return url
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname and "@" not in parts.netloc:
        return url
    raise ValueError('A URL must be a path that starts with a single "/" or an https URL.')


_FAMILIES = (".push.apple.com", ".notify.windows.com")


def _networks(*networks: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(network) for network in networks)


def _is_in(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...],
) -> bool:
    return any(address in network for network in networks)


_PRIVATE_NETWORKS = _networks("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7")

# All other IPv6 addresses are loopback, mapped or translated IPv4 (NAT64), private, link-local or multicast.
_PUBLIC_IPV6 = _networks("2000::/3")

# `is_global` is true for these networks on some Python versions, but they are internal or unused.
_REFUSED_NETWORKS = _networks(
    "100.64.0.0/10",  # carrier-grade NAT, metadata service of some clouds
    "168.63.129.16/32",  # Azure's host agent
    "192.0.0.0/24",  # protocol assignments, metadata service of some clouds
    "192.88.99.0/24",  # 6to4 relays
    "198.18.0.0/15",  # benchmarking
    "224.0.0.0/4",  # multicast
    "2001::/23",  # Teredo, ORCHID, benchmarking
    "2001:db8::/32",  # documentation
    "2002::/16",  # 6to4
    "3fff::/20",  # documentation
)

# Without re.IGNORECASE, which matches some non-ASCII letters as "s" and "k".
_URL = re.compile(r"""([Hh][Tt][Tt][Pp][Ss]?)://([!"$-.0->@-\[\]-~]*)([-A-Za-z0-9._~:/?\[\]@!$&'()*+,;=%]*)""")
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:]*)(?::([1-9][0-9]{0,4}))?")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def _malformed(why: str) -> InvalidSubscription:
    return InvalidSubscription(f"The endpoint {why}.", field="endpoint")


def _split(url: str) -> tuple[str, str, str]:
    """Split into scheme, authority and the rest. Refuses URLs that parsers may read differently."""
    match = _URL.fullmatch(url) if isinstance(url, str) and len(url) <= MAX_ENDPOINT_BYTES else None
    if match is None:
        raise _malformed(_malformation(url))
    scheme, authority, rest = match.groups()
    if "@" in authority:
        raise _malformed("must not have a user name or password")
    return scheme, authority, rest


def _malformation(url: object) -> str:
    if not isinstance(url, str) or not url:
        return "must be a URL"
    if len(url) > MAX_ENDPOINT_BYTES:
        return f"is longer than {MAX_ENDPOINT_BYTES} bytes"
    if "#" in url:
        return "must not have a fragment"
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return "contains characters that are not allowed in URLs"
    return "must be an https URL"


@lru_cache(maxsize=4096)
def _server(scheme: str, authority: str) -> PushServer:
    """Return the server of an endpoint. Cached, because a million endpoints use only a few servers."""
    scheme = scheme.lower()
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        raise _malformed("has a malformed host or port")
    host, is_address = _host(match.group(1).lower())
    port = _port(match.group(2), scheme)
    origin = f"{scheme}://[{host}]" if ":" in host else f"{scheme}://{host}"
    if port != _DEFAULT_PORTS[scheme]:
        origin = f"{origin}:{port}"
    return PushServer(scheme, host, port, origin, _push_service(host), is_address)


_DEFAULT_PORTS = {"https": 443, "http": 80}


def _host(text: str) -> tuple[str, bool]:
    """Return the host and whether it is an IP address."""
    try:
        if text.startswith("["):
            return ipaddress.IPv6Address(text[1:-1]).compressed, True
        labels = text.split(".")
        if _looks_numeric(labels[-1]):
            return str(ipaddress.IPv4Address(text)), True
    except ValueError:
        raise _malformed("has a malformed address") from None
    if len(text) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise _malformed("has a malformed host or port")
    return text, False


def _port(digits: str | None, scheme: str) -> int:
    port = int(digits or _DEFAULT_PORTS[scheme])
    if port > 65535:
        raise _malformed("has a malformed host or port")
    return port


def _looks_numeric(label: str) -> bool:
    # Browsers and curl treat a host whose last label is a number as an IPv4 address in some notation.
    return re.fullmatch(r"[0-9]+|0x[0-9a-f]*", label) is not None


def _push_service(host: str) -> str:
    return next((family[1:] for family in _FAMILIES if host.endswith(family)), host)


@lru_cache(maxsize=4096)
def _refusal(policy: EndpointPolicy, server: PushServer) -> str:
    """Return the reason why messages to this server are refused, or ""."""
    if server.is_address:
        reason = policy.address_refusal(server.host)
        if reason:
            return f"The endpoint address {reason}."
    if policy.allow_private and _is_private(server):
        return ""
    if server.scheme != "https" and not policy.allow_private:
        return "The endpoint must be an https URL."
    if _is_listed(policy, server):
        return ""
    if ANY_HOST not in policy.allowed_hosts:
        return f"Allowed push services are listed in PUSH_SERVICES; {server.netloc} is not one of them."
    if policy.allow_private:
        return ""
    if server.port != _DEFAULT_PORTS["https"]:
        return f"The endpoint must use port 443, or PUSH_SERVICES must list {server.netloc}."
    labels = server.host.split(".")
    if not server.is_address and (len(labels) == 1 or labels[-1] in _LOCAL_DOMAINS):
        return f"The endpoint must be at a public host; {server.host} is not one."
    return ""


_LOCAL_DOMAINS = frozenset({"localhost", "local", "internal", "localdomain", "lan", "home", "corp", "arpa", "onion"})


def _is_private(server: PushServer) -> bool:
    if server.is_address:
        return _is_in(ipaddress.ip_address(server.host), _PRIVATE_NETWORKS)
    return server.host == "localhost"


def _is_listed(policy: EndpointPolicy, server: PushServer) -> bool:
    for entry in policy.allowed_hosts:
        try:
            host, port = split_allowed_host(entry)
        except ValueError:
            continue  # a system check reports it
        is_below = host.startswith(".") and server.host.endswith(host)
        if (server.host == host or is_below) and (server.port == port or policy.allow_private):
            return True
    return False


def split_allowed_host(entry: str) -> tuple[str, int]:
    """Return the host and the port of an allow-list entry. Raises ValueError for invalid entries and for `ANY_HOST`.

    The host is in lower case, IPv6 addresses without brackets. It starts with "." if it stands for all subdomains.
    """
    match = _AUTHORITY.fullmatch(entry.lower()) if isinstance(entry, str) else None
    if match is None:
        raise ValueError("not a host")
    host, _is_address = _host(match.group(1).removeprefix("."))
    dot = "." if entry.startswith(".") else ""
    return dot + host, _port(match.group(2), "https")
