"""Transports send a `PushRequest` and return a `PushResponse`. They need neither a database nor settings."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .base import MAX_REPLY_BYTES, PushRequest, PushResponse, Transport

if TYPE_CHECKING:
    from .console import ConsoleTransport
    from .curl import CurlTransport
    from .locmem import LocmemTransport
    from .pywebpush import PyWebPushTransport

__all__ = [
    "MAX_REPLY_BYTES",
    "ConsoleTransport",
    "CurlTransport",
    "LocmemTransport",
    "PushRequest",
    "PushResponse",
    "PyWebPushTransport",
    "Transport",
]

# Imported on first use, so that a process that sends nothing loads no HTTP client.
_MODULES = {
    "ConsoleTransport": "console",
    "CurlTransport": "curl",
    "LocmemTransport": "locmem",
    "PyWebPushTransport": "pywebpush",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
