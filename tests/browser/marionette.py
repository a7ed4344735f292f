"""A client of Marionette, Firefox's own remote protocol: length-prefixed JSON over TCP."""

from __future__ import annotations

import json
import socket
from typing import Any


class MarionetteError(Exception):
    """Firefox answered a command with an error."""


class Marionette:
    """A connection to a running Firefox."""

    def __init__(self, port: int, timeout: float = 60) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout)
        self._stream = self._socket.makefile("rb")
        self._last_id = 0
        self._receive()  # the greeting

    def command(self, name: str, **parameters: Any) -> Any:
        """Send one command and return its result."""
        self._last_id += 1
        message = json.dumps([0, self._last_id, name, parameters]).encode()
        self._socket.sendall(b"%d:%b" % (len(message), message))
        _, _, error, result = self._receive()
        if error:
            raise MarionetteError(f"{name}: {error['error']}: {error['message']}")
        return result["value"] if isinstance(result, dict) and set(result) == {"value"} else result

    def close(self) -> None:
        """Close the connection; the browser runs on."""
        self._stream.close()
        self._socket.close()

    def _receive(self) -> Any:
        length = bytearray()
        while (character := self._stream.read(1)) != b":":
            if not character:
                raise MarionetteError("Firefox closed the connection")
            length += character
        return json.loads(self._stream.read(int(length)))
