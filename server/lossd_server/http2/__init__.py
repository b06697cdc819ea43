# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 as gRPC uses it, server side: frames, header blocks, streams and windows (RFC 9113, RFC 7541). Nothing of gRPC in here.

frames.py       what goes over the wire
headers.py      header blocks
sender.py       streams, and what is sent on them
connection.py   the state of one connection: bytes in, events out, bytes out; no I/O
protocol.py     a connection on an asyncio transport, with the clocks that guard it
"""
