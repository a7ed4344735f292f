"""As much of the protocol buffers wire format as Google's push protocol needs."""

from __future__ import annotations

import struct

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def varint(number: int) -> bytes:
    """A number in base 128, least significant group first."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def number_field(field: int, value: int) -> bytes:
    """An integer field."""
    return varint(field << 3 | _VARINT) + varint(value)


def fixed64_field(field: int, value: int) -> bytes:
    """A 64 bit field of fixed length."""
    return varint(field << 3 | _FIXED64) + struct.pack("<Q", value)


def bytes_field(field: int, value: bytes | str) -> bytes:
    """A field of text, bytes or an embedded message."""
    content = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | _BYTES) + varint(len(content)) + content


def parse(message: bytes) -> list[tuple[int, int | bytes]]:
    """The fields of a message in their order: (number, value); embedded messages stay bytes."""
    fields: list[tuple[int, int | bytes]] = []
    position = 0
    while position < len(message):
        key, position = _read_varint(message, position)
        kind = key & 7
        if kind == _VARINT:
            value, position = _read_varint(message, position)
            fields.append((key >> 3, value))
            continue
        if kind == _BYTES:
            length, position = _read_varint(message, position)
        else:
            length = {_FIXED64: 8, _FIXED32: 4}[kind]
        fields.append((key >> 3, message[position : position + length]))
        position += length
    return fields


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = message[position]
        number |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return number, position
