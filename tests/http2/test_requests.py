# SPDX-License-Identifier: Apache-2.0
"""Header blocks and requests, without I/O: what a peer sends, cut anywhere, and what a malformed request costs."""

import itertools

import hpack
import pytest
from hyperframe.frame import DataFrame, RstStreamFrame
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lossd_server.http2.budget import Budget
from lossd_server.http2.frames import ConnectionFault, ErrorCode, frame
from lossd_server.http2.header_blocks import HeaderBlocks, literal
from support.http2_peer import BLOCK, TRAILERS, Peer, conversation, opened, ready, resets, said


@settings(max_examples=100, deadline=None)
@given(
    pieces=st.lists(st.tuples(st.sampled_from([1, 3]), st.integers(0, 600), st.none() | st.integers(0, 255)), max_size=8),
    cuts=st.lists(st.integers(1, 400), min_size=1, max_size=20),
)
@example(pieces=[(1, 300, None), (3, 0, 0), (3, 1, 255), (1, 0, None)], cuts=[1])
def test_the_bytes_of_requests_mean_the_same_however_they_are_cut(pieces: list[tuple[int, int, int | None]], cuts: list[int]) -> None:
    data = conversation(pieces)
    whole, cut = Peer(echo=True), Peer(echo=True)
    whole.receive(data)
    position, sizes = 0, itertools.cycle(cuts)
    while position < len(data):
        piece = bytearray(data[position : position + next(sizes)])
        cut.receive(piece)
        position += len(piece)
        piece[:] = bytes(len(piece))  # the memory is only read meanwhile
    assert said(cut.back()) == said(whole.back())
    assert cut.opened == whole.opened
    assert [stream for stream, _, _ in whole.opened] == [1, 3, 5, 7]
    for stream, reader in whole.readers.items():
        body = b"".join([bytes([size & 255]) * size for each, size, _ in pieces if each == stream]) + b"the end" * (stream == 1)
        for each in (reader, cut.readers[stream]):
            assert (each.body, each.ended, each.was_aborted) == (body, stream != 7, int(stream == 7))


# ---- header blocks


ALWAYS = [(":method", "GET"), (":scheme", "http"), (":path", "/")]
IN_BYTES = tuple([(name.encode(), value.encode()) for name, value in ALWAYS])
REQUEST = b"\x82\x86\x84"  # the same, encoded


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 200) | st.tuples(st.sampled_from("abcdef"), st.sampled_from(["", "v", "w" * 50])), max_size=40))
def test_a_block_that_was_seen_before_means_what_the_table_says_now(steps: list[int | tuple[str, str]]) -> None:
    headers, blocks = hpack.Encoder(), HeaderBlocks(tuple, Budget())
    for step in steps:
        if isinstance(step, int):
            headers.header_table_size = step
        else:
            name, value = step
            assert blocks.decode(headers.encode([*ALWAYS, step])).head == (*IN_BYTES, (name.encode(), value.encode()))


def test_a_block_is_remembered_until_the_table_changes() -> None:
    blocks = HeaderBlocks(tuple, Budget())
    newest = REQUEST + b"\xbe"
    blocks.decode(REQUEST + b"\x40\x01a\x01b")
    assert blocks.decode(newest).head is blocks.decode(newest).head
    blocks.decode(REQUEST + b"\x40\x01c\x01d")
    assert blocks.decode(newest).head == (*IN_BYTES, (b"c", b"d"))
    blocks.decode(b"\x20\x3f\xe1\x1f" + REQUEST)  # no table, and the largest again
    with pytest.raises(ConnectionFault) as fault:
        blocks.decode(newest)
    assert fault.value.code is ErrorCode.COMPRESSION_ERROR


def test_headers_that_are_too_large_cost_their_stream_and_still_change_the_table() -> None:
    """As a literal, and as references to a large field of the table."""
    peer = ready()
    length = hpack.hpack.encode_integer(70_000, 7)
    large = REQUEST + b"\x40\x01a\x01b" + b"\x00\x01z" + bytes(length) + b"z" * 70_000 + b"\x40\x01c\x01d"
    refused = [frame(1, 0, 1, large[:16_000]), *[frame(9, 0, 1, large[at : at + 16_000]) for at in range(16_000, len(large), 16_000)]]
    assert resets(peer.send(*refused, frame(9, 4, 1))) == [(1, ErrorCode.ENHANCE_YOUR_CALM)]
    assert peer.send(frame(1, 5, 3, REQUEST + b"\xbe\xbf")) == []
    assert peer.opened == [(3, (*IN_BYTES, (b"c", b"d"), (b"a", b"b")), True)]
    peer.send(frame(1, 5, 5, REQUEST + b"\x40\x01e\x7f\xa1\x1e" + b"x" * 4000))
    assert resets(peer.send(frame(1, 5, 7, REQUEST + b"\xbe" * 17))) == [(7, ErrorCode.ENHANCE_YOUR_CALM)]
    peer.send(frame(1, 5, 9, BLOCK))
    assert [stream for stream, *_ in peer.opened] == [3, 5, 9]


# ---- malformed requests


def fields(**changes: str | None) -> list[tuple[str, str]]:
    names = {"method": "POST", "scheme": "http", "path": "/", **changes}
    return [(f":{name}", value) for name, value in names.items() if value is not None]


@pytest.mark.parametrize(
    "headers",
    [
        *[fields(**{name: None}) for name in ("method", "scheme", "path")],
        fields(path=""),
        fields(unknown="x"),
        fields(status="200"),
        [*fields(), (":path", "/again")],
        [*fields(path=None), ("a", "b"), (":path", "/")],
        [*fields(method="CONNECT")],
        *[[*fields(), (name, "x")] for name in ("Upper", "", "a b", "a:b", "é", "connection", "keep-alive", "upgrade", "te")],
        *[[*fields(), (name, "x")] for name in ("proxy-connection", "transfer-encoding")],
        *[[*fields(), ("a", value)] for value in ("a\r\nb", "a\0b")],
        *[[*fields(), ("content-length", value)] for value in ("x", "-1", "", "9" * 30)],
        [*fields(), ("content-length", "1"), ("content-length", "2")],
    ],
)
def test_a_malformed_request_is_reset_and_its_connection_serves_on(headers: list[tuple[str, str]]) -> None:
    peer = ready()
    block = b"".join([literal(name.encode(), value.encode()) for name, value in headers])
    assert resets(peer.send(frame(1, 4, 1, block), DataFrame(1, b"x"), opened(3))) == [(1, ErrorCode.PROTOCOL_ERROR)]
    assert [stream for stream, *_ in peer.opened] == [3]


@pytest.mark.parametrize("headers", [[*fields(), ("te", "trailers")], [*fields(), ("content-length", "0")], fields(authority="x")])
def test_a_request_with_other_fields_is_accepted(headers: list[tuple[str, str]]) -> None:
    peer = ready()
    block = b"".join([literal(name.encode(), value.encode()) for name, value in headers])
    assert peer.send(frame(1, 5, 1, block)) == []
    assert len(peer.opened) == 1


@pytest.mark.parametrize("pieces", [[0], [2], [4], [1, 1], [1, 3], [3, 1]])
def test_a_body_has_the_length_that_its_headers_say(pieces: list[int]) -> None:
    peer = ready()
    data = [DataFrame(1, bytes(size)) for size in pieces]
    data[-1].flags.add("END_STREAM")
    expected = [] if sum(pieces) == 3 else [(1, ErrorCode.PROTOCOL_ERROR)]
    assert resets(peer.send(frame(1, 4, 1, BLOCK + literal(b"content-length", b"3")), *data)) == expected
    assert resets(peer.send(frame(1, 5, 3, BLOCK + literal(b"content-length", b"3")))) == [(3, ErrorCode.PROTOCOL_ERROR)]


@pytest.mark.parametrize(("flags", "block"), [(4, TRAILERS), (5, BLOCK), (5, literal(b"Upper", b"x"))])
def test_wrong_trailers_end_their_stream(flags: int, block: bytes) -> None:
    peer = ready(1, 3)
    assert resets(peer.send(frame(1, flags, 1, block))) == [(1, ErrorCode.PROTOCOL_ERROR)]
    assert (peer.readers[1].was_aborted, list(peer.connection.streams)) == (1, [3])


def test_data_on_a_stream_that_its_peer_closed_is_refused_and_on_one_that_we_closed_is_not() -> None:
    peer = ready(1, 3, 5)
    peer.send(RstStreamFrame(1, error_code=8))
    assert resets(peer.send(DataFrame(1, b"x"))) == [(1, ErrorCode.STREAM_CLOSED)]
    peer.connection.reset(peer.readers[3].stream, ErrorCode.CANCEL)
    peer.back()
    assert peer.send(DataFrame(3, b"x"), frame(1, 5, 3, TRAILERS), DataFrame(5, b"y")) == []
    assert peer.readers[5].body == b"y"
