# SPDX-License-Identifier: Apache-2.0
"""The server side of HTTP/2, as far as gRPC needs it: frames, header blocks, streams and windows (RFC 9113, RFC 7541). No gRPC code.

frames.py            encodes and decodes frames
frame_reader.py      splits bytes, in pieces of any size, into frames and header blocks
header_blocks.py     HPACK: decodes the peer's header blocks, and encodes ours
header_rules.py      which requests are malformed
budget.py            limits what a peer's frames may cost
streams.py           a request, its response, and its receiver
sending.py           sends within the peer's windows
connection.py        the state of one connection: bytes in, events out, bytes out; no I/O
turns.py             shares the event loop between hosts
asyncio_protocol.py  a connection on an asyncio transport, with its timeouts
"""
