"""CurlTransport."""

from __future__ import annotations

from .network import NetworkTransport


class CurlTransport(NetworkTransport):
    """Sends over the network."""
