"""Parse and check push endpoints, and check the URLs that a click may open.

An endpoint is a URL that a stranger gives us and that we post to.
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
    """Who is behind an endpoint: `host` in lower case, without brackets; `origin` as in RFC 6454.

    `push_service` is the stable name of the service: its host, or one name for a family of hosts. `is_address` says
    whether the host is a literal IP address.
    """

    scheme: str
    host: str
    port: int
    origin: str
    push_service: str
    is_address: bool

    @property
    def netloc(self) -> str:
        """The host, and the port unless it is the default one of the scheme, as `PUSH_SERVICES` lists them."""
        return self.origin.partition("://")[2]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint, parsed once: what the checks, the VAPID audience, the stored columns and the connection all use.

    `url` is normalised: scheme and host in lower case, no default port. The path and the query stay as they are.
    """

    url: str
    server: PushServer = field(compare=False, repr=False)

    @classmethod
    def parse(cls, url: str) -> Endpoint:
        """Read an http or https URL; `InvalidSubscription(field="endpoint")` for whatever parsers could read twice.

        Whether messages may go there is for `EndpointPolicy.check` to say.
        """
        scheme, authority, rest = _split(url)
        server = _server(scheme, authority)
        return cls(server.origin + rest, server)

    @property
    def origin(self) -> str:
        """Scheme, host and port: what a VAPID token names as its audience."""
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
    """The rules for endpoints: an allow-list of hosts, strict URLs, and no way into private networks.

    `allowed_hosts` holds exact hosts ("push.example.com"), ".example.com" for subdomains, each with a port unless it
    is 443 ("push.example.com:8443"), or "*" for every public host. With `allow_private` (tests and local demos only)
    loopback and private addresses and `localhost` pass without being listed, on any port, with http too.
    """

    allowed_hosts: tuple[str, ...] = DEFAULT_PUSH_SERVICES
    allow_private: bool = False

    def check(self, endpoint: str | Endpoint) -> Endpoint:
        """Return the endpoint, or raise `InvalidSubscription(field="endpoint")` that says why not."""
        if not isinstance(endpoint, Endpoint):
            endpoint = Endpoint.parse(endpoint)
        refusal = _refusal(self, endpoint.server)
        if refusal:
            raise InvalidSubscription(refusal, field="endpoint")
        return endpoint

    def address_refusal(self, ip: str) -> str:
        """Say why no connection may go to this IP address, in words; "" when it may."""
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
    """Return the name of an endpoint's push service; "" for what is not an endpoint."""
    try:
        return Endpoint.parse(url).push_service
    except InvalidSubscription:
        return ""


def endpoint_hash(url: str) -> str:
    """Return SHA-256 of the text, as hexadecimal text: what stored subscriptions are unique by and found by."""
    return sha256(url.encode(errors="surrogatepass")).hexdigest()


def check_click_url(url: str, *, allow_data: bool = False) -> str:
    """Return `url` if a click may open it or an icon may come from it, otherwise raise ValueError.

    That is "", a path of the same origin ("/orders/7?x=1") or an https URL; with `allow_data` also a `data:image/`
    URL. Everything that a browser could read as another origin or as a script is refused.
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

# Everything else is loopback, mapped or translated IPv4 (NAT64), private, site-local, link-local or multicast.
_PUBLIC_IPV6 = _networks("2000::/3")

# What `is_global` lets through on some Python, but leads inside or nowhere.
_REFUSED_NETWORKS = _networks(
    "100.64.0.0/10",  # carrier-grade NAT, some clouds' metadata
    "168.63.129.16/32",  # Azure's host agent
    "192.0.0.0/24",  # protocol assignments, some clouds' metadata
    "192.88.99.0/24",  # 6to4 relays
    "198.18.0.0/15",  # benchmarking
    "224.0.0.0/4",  # multicast
    "2001::/23",  # Teredo, ORCHID, benchmarking
    "2001:db8::/32",  # documentation
    "2002::/16",  # 6to4
    "3fff::/20",  # documentation
)

# Without re.IGNORECASE, which takes some letters beyond ASCII for "s" and "k".
_URL = re.compile(r"""([Hh][Tt][Tt][Pp][Ss]?)://([!"$-.0->@-\[\]-~]*)([-A-Za-z0-9._~:/?\[\]@!$&'()*+,;=%]*)""")
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:]*)(?::([1-9][0-9]{0,4}))?")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def _malformed(why: str) -> InvalidSubscription:
    return InvalidSubscription(f"The endpoint {why}.", field="endpoint")


def _split(url: str) -> tuple[str, str, str]:
    """Split into scheme, authority and the rest, refusing whatever two URL parsers could read differently."""
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
        return "contains characters that a URL may not contain"
    return "must be an https URL"


@lru_cache(maxsize=4096)
def _server(scheme: str, authority: str) -> PushServer:
    """Return whom the endpoint belongs to. Cached: a million endpoints have a handful of servers."""
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
    # A host whose last label is a number is an IPv4 address for browsers and curl, in whatever notation.
    return re.fullmatch(r"[0-9]+|0x[0-9a-f]*", label) is not None


def _push_service(host: str) -> str:
    return next((family[1:] for family in _FAMILIES if host.endswith(family)), host)


@lru_cache(maxsize=4096)
def _refusal(policy: EndpointPolicy, server: PushServer) -> str:
    """Say why no message may go to this server, in words; "" when it may."""
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
            continue  # a system check names it
        is_below = host.startswith(".") and server.host.endswith(host)
        if (server.host == host or is_below) and (server.port == port or policy.allow_private):
            return True
    return False


def split_allowed_host(entry: str) -> tuple[str, int]:
    """Return the host and the port of an entry of an allow-list; ValueError for anything else, `ANY_HOST` included.

    The host is in lower case, an IPv6 address without brackets. It begins with "." where it means every subdomain.
    """
    match = _AUTHORITY.fullmatch(entry.lower()) if isinstance(entry, str) else None
    if match is None:
        raise ValueError("not a host")
    host, _is_address = _host(match.group(1).removeprefix("."))
    dot = "." if entry.startswith(".") else ""
    return dot + host, _port(match.group(2), "https")
