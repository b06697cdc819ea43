# SPDX-License-Identifier: Apache-2.0
"""Protobuf's wire format, written independently of the server's walker of it."""


def varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes([*encoded, value])


def within(number: int, content: bytes) -> bytes:
    """A field that holds a message, a string, bytes or packed elements."""
    return varint(number << 3 | 2) + varint(len(content)) + content
