"""Which URLs may be posted to and which a click may open.

An endpoint is a URL that a stranger gave us and that we post to.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache
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
"""The hosts of the browsers' push services; a leading dot means every subdomain."""

MAX_ENDPOINT_BYTES = 2048

ANY_HOST = "*"
"""Open mode: every public host is allowed."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A checked endpoint: the normalised `url`, its `origin` (RFC 6454) and its `host`, lower case, no brackets."""

    url: str
    origin: str
    host: str

    @property
    def is_address(self) -> bool:
        """Whether the host is a literal IP address."""
        return ":" in self.host or self.host.rpartition(".")[2].isdigit()


@dataclass(frozen=True, slots=True)
class EndpointPolicy:
    """The rules for endpoints: an allow-list of hosts, strict URLs, and no way into private networks.

    `allowed_hosts` holds exact hosts, ".example.com" for subdomains, or "*" for every public host. With
    `allow_private` (tests and local demos only) loopback and private addresses and `localhost` pass without being
    listed, on any port, with http too.
    """

    allowed_hosts: tuple[str, ...] = DEFAULT_PUSH_SERVICES
    allow_private: bool = False

    def check(self, url: str) -> Endpoint:
        """Return the endpoint, normalised, or raise `InvalidSubscription(field="endpoint")` that says why not."""
        scheme, authority, rest = _split(url)
        origin, host = _checked_origin(self, scheme, authority)
        return Endpoint(origin + rest, origin, host)

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


def push_service(endpoint: str) -> str:
    """Return the stable name of the endpoint's push service: its host, or one name for a family of hosts."""
    authority = _END_OF_AUTHORITY.split(endpoint.partition("://")[2], maxsplit=1)[0].lower()
    host = authority[1:].partition("]")[0] if authority.startswith("[") else authority.partition(":")[0]
    for family in _FAMILIES:
        if host.endswith(family):
            return family[1:]
    return host


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


_END_OF_AUTHORITY = re.compile(r"[/?#]")
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

_URL = re.compile(r"""(https?)://([!"$-.0->@-\[\]-~]*)([-A-Za-z0-9._~:/?\[\]@!$&'()*+,;=%]*)""", re.IGNORECASE)
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:]*)(?::([1-9][0-9]{0,4}))?")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def _refused(why: str) -> InvalidSubscription:
    return InvalidSubscription(f"The endpoint {why}.", field="endpoint")


def _split(url: str) -> tuple[str, str, str]:
    """Split into scheme, authority and the rest, refusing whatever two URL parsers could read differently."""
    match = _URL.fullmatch(url) if isinstance(url, str) and len(url) <= MAX_ENDPOINT_BYTES else None
    if match is None:
        raise _refused(_malformation(url))
    scheme, authority, rest = match.groups()
    if "@" in authority:
        raise _refused("must not have a user name or password")
    return scheme.lower(), authority, rest


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


def _split_authority(authority: str) -> tuple[str, str]:
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        raise _refused("has a malformed host or port")
    host, port = match.group(1).lower(), match.group(2) or ""
    if port and int(port) > 65535:
        raise _refused("has a malformed host or port")
    if host.startswith("["):
        try:
            return ipaddress.IPv6Address(host[1:-1]).compressed, port
        except ValueError:
            raise _refused("has a malformed host or port") from None
    return host, port


@lru_cache(maxsize=4096)
def _checked_origin(policy: EndpointPolicy, scheme: str, authority: str) -> tuple[str, str]:
    """Return origin and host, or raise `InvalidSubscription`. Cached: a million endpoints have a handful of origins."""
    host, port = _split_authority(authority)
    if not policy.allow_private:
        if scheme != "https":
            raise _refused("must be an https URL")
        if port not in ("", "443"):
            raise _refused("must use port 443")
    refusal = _host_refusal(policy, host)
    if refusal:
        raise _refused(refusal)
    origin = f"{scheme}://[{host}]" if ":" in host else f"{scheme}://{host}"
    if port and port != _DEFAULT_PORTS[scheme]:
        origin = f"{origin}:{port}"
    return origin, host


_DEFAULT_PORTS = {"https": "443", "http": "80"}


def _host_refusal(policy: EndpointPolicy, host: str) -> str:
    labels = host.split(".")
    if ":" in host or _looks_numeric(labels[-1]):
        return _address_host_refusal(policy, host)
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        return "has a malformed host or port"
    if policy.allow_private and host == "localhost":
        return ""
    if _listed(policy, host):
        return ""
    if ANY_HOST not in policy.allowed_hosts:
        return "is not at an allowed push service"
    if not policy.allow_private and (len(labels) == 1 or labels[-1] in _LOCAL_DOMAINS):
        return "is not at a public host"
    return ""


_LOCAL_DOMAINS = frozenset({"localhost", "local", "internal", "localdomain", "lan", "home", "corp", "arpa", "onion"})


def _looks_numeric(label: str) -> bool:
    # A host whose last label is a number is an IPv4 address for browsers and curl, in whatever notation.
    return re.fullmatch(r"[0-9]+|0x[0-9a-f]*", label) is not None


def _address_host_refusal(policy: EndpointPolicy, host: str) -> str:
    refusal = policy.address_refusal(host)
    if refusal:
        return f"address {refusal}"
    if policy.allow_private and _is_in(ipaddress.ip_address(host), _PRIVATE_NETWORKS):
        return ""
    if ANY_HOST in policy.allowed_hosts or _listed(policy, host):
        return ""
    return "is not at an allowed push service"


def _listed(policy: EndpointPolicy, host: str) -> bool:
    for allowed in policy.allowed_hosts:
        name = allowed.lower()
        if host == name or (name.startswith(".") and host.endswith(name) and len(host) > len(name)):
            return True
    return False
