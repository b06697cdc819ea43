# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 as gRPC uses it, server side: frames, header blocks, streams and windows (RFC 9113, RFC 7541). Nothing of gRPC in here.

frames.py            the bytes of frames
frame_reader.py      from bytes in any pieces to frames and header blocks
header_blocks.py     HPACK: the header blocks that come, and those that we send
header_rules.py      which requests are malformed
budget.py            what a peer's frames may cost
streams.py           a request, its response, and who reads it
sending.py           what is sent, within the peer's windows
connection.py        the state of one connection: bytes in, events out, bytes out; no I/O
asyncio_protocol.py  a connection on an asyncio transport, with the clocks that guard it
"""
