"""PyWebPushTransport."""

from __future__ import annotations

from .network import NetworkTransport


class PyWebPushTransport(NetworkTransport):
    """Sends over the network."""
