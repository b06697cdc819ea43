# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 without I/O: frames by hand against a connection, and what it says and tells."""

import itertools

import hpack
import pytest
from hyperframe import frame as h2
from hyperframe.frame import DataFrame, Frame, RstStreamFrame, SettingsFrame, WindowUpdateFrame
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lossd_server.http2.budget import Budget
from lossd_server.http2.frames import MAX_WINDOW, PREFACE, ConnectionFault, ErrorCode, frame
from lossd_server.http2.header_blocks import HeaderBlocks, literal
from lossd_server.http2.streams import INITIAL_WINDOW, SPARE_WINDOW
from support.http2_peer import BLOCK, FRAME_SIZE, INITIAL, TRAILERS, Peer, conversation, opened, ready, resets, said


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
    """In whatever form: as a literal, and as references to a large field of the table."""
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
def test_a_request_of_other_fields_is_not(headers: list[tuple[str, str]]) -> None:
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


# ---- what ends a connection

WINDOW = (1).to_bytes(4)


@pytest.mark.parametrize(
    ("code", "parts"),
    [
        # Header blocks.
        *[
            ("COMPRESSION_ERROR", [frame(1, 4, 1, block)])
            for block in (b"\x80", b"\xbe", b"\x7f" + b"\xff" * 99, b"\x40\x05ab", b"\x3f\xff\x7f")
        ],
        ("ENHANCE_YOUR_CALM", [frame(1, 0, 1, b"\x00" * 16384), *[frame(9, 0, 1, b"\x00" * 16384)] * 8]),
        ("ENHANCE_YOUR_CALM", [frame(1, 0, 1, BLOCK), frame(9, 0, 1)]),
        ("ENHANCE_YOUR_CALM", [frame(1, 4, 1, bytes((1 << 17) + 1))[:9]]),
        ("ENHANCE_YOUR_CALM", [frame(1, 4, 1, b"\x82" * 5000)]),
        ("COMPRESSION_ERROR", [frame(1, 4, 1, b"\x20" * 17 + BLOCK)]),
        ("COMPRESSION_ERROR", [frame(1, 4, 1, BLOCK + b"\x20")]),
        ("FRAME_SIZE_ERROR", [frame(0x77, 0, 1, bytes((1 << 17) + 1))[:9]]),
        *[
            ("PROTOCOL_ERROR", [frame(1, 0, 1, BLOCK), between])
            for between in (frame(0, 0, 1, b"x"), frame(6, 0, 0, bytes(8)), frame(9, 4, 3, b""), frame(1, 4, 3, BLOCK), frame(0x77, 0, 0))
        ],
        ("PROTOCOL_ERROR", [frame(9, 4, 1, BLOCK)]),
        ("PROTOCOL_ERROR", [frame(1, 4 | 8, 1, b"\x05" + BLOCK[:4])]),
        ("PROTOCOL_ERROR", [frame(1, 4 | 8, 1, b"")]),
        ("PROTOCOL_ERROR", [frame(1, 4 | 0x20, 1, b"\x00" * 4)]),
        # Streams.
        *[("PROTOCOL_ERROR", [frame(kind, 4, 0, payload)]) for kind, payload in ((0, b"x"), (1, BLOCK), (2, bytes(5)), (3, WINDOW))],
        *[("PROTOCOL_ERROR", [frame(kind, 0, 1, payload)]) for kind, payload in ((4, b""), (6, bytes(8)), (7, bytes(8)))],
        *[("PROTOCOL_ERROR", [frame(kind, 4, 2, payload)]) for kind, payload in ((0, b"x"), (1, BLOCK), (5, WINDOW + BLOCK))],
        *[("PROTOCOL_ERROR", [frame(kind, 0, 9, payload)]) for kind, payload in ((0, b"x"), (3, WINDOW), (8, WINDOW))],
        ("STREAM_CLOSED", [opened(1, "END_STREAM"), frame(0, 0, 1, b"x")]),
        ("STREAM_CLOSED", [opened(1, "END_STREAM"), opened(1, "END_STREAM")]),
        ("PROTOCOL_ERROR", [opened(5), opened(3)]),
        ("PROTOCOL_ERROR", [opened(1), RstStreamFrame(1, error_code=8), opened(1)]),
        # Sizes and values.
        *[
            ("FRAME_SIZE_ERROR", [opened(1), frame(kind, flags, stream, bytes(size))])
            for kind, flags, stream, size in (
                (2, 0, 1, 4),
                (3, 0, 1, 5),
                (4, 0, 0, 5),
                (4, 1, 0, 6),
                (6, 0, 0, 7),
                (8, 0, 0, 3),
                (8, 0, 1, 5),
            )
        ],
        ("FRAME_SIZE_ERROR", [opened(1), frame(0, 0, 1, bytes(1 << 21))[:9]]),
        *[("PROTOCOL_ERROR", [opened(1), frame(0, 8, 1, payload)]) for payload in (b"", b"\x01", b"\x03ab")],
        *[
            (code, [frame(4, 0, 0, name.to_bytes(2) + value.to_bytes(4))])
            for code, name, value in (
                *(("FLOW_CONTROL_ERROR", INITIAL, MAX_WINDOW + 1), ("PROTOCOL_ERROR", FRAME_SIZE, 16383)),
                *(("PROTOCOL_ERROR", FRAME_SIZE, 1 << 24), ("PROTOCOL_ERROR", SettingsFrame.ENABLE_PUSH, 2)),
            )
        ],
        ("PROTOCOL_ERROR", [frame(8, 0, 0, bytes(4))]),
        ("FLOW_CONTROL_ERROR", [frame(8, 0, 0, MAX_WINDOW.to_bytes(4))]),
    ],
)
def test_a_peer_that_breaks_the_rules_ends_its_connection(code: str, parts: list[Frame | bytes]) -> None:
    with pytest.raises(ConnectionFault) as fault:
        ready().send(*parts)
    assert fault.value.code is ErrorCode[code]


def test_what_is_not_http_2_ends_the_connection() -> None:
    with pytest.raises(ConnectionFault):
        Peer().send(b"GET / HTTP/1.1\r\n")


@pytest.mark.parametrize(("increment", "code"), [(0, ErrorCode.PROTOCOL_ERROR), (MAX_WINDOW, ErrorCode.FLOW_CONTROL_ERROR)])
def test_a_wrong_window_of_a_stream_ends_only_that(increment: int, code: ErrorCode) -> None:
    peer = ready(1, 3)
    assert resets(peer.send(frame(8, 0, 1, increment.to_bytes(4)))) == [(1, code)]
    assert (peer.readers[1].was_aborted, list(peer.connection.streams)) == (1, [3])


def test_the_reserved_bit_of_a_stream_id_is_ignored() -> None:
    peer = ready()
    peer.send(frame(1, 4, 1 << 31 | 1, BLOCK))
    assert list(peer.connection.streams) == [1]


# ---- what a peer may send


def test_a_peer_that_sends_more_than_it_may_loses_that_stream() -> None:
    peer = ready(1, 3)
    full = [DataFrame(1, bytes(1 << 14))] * (INITIAL_WINDOW >> 14)
    assert peer.send(*full, DataFrame(1, bytes(SPARE_WINDOW))) == []
    assert resets(peer.send(DataFrame(1, b"x"), DataFrame(1, b"y"), DataFrame(3, b"z"))) == [(1, ErrorCode.FLOW_CONTROL_ERROR)]
    assert (len(peer.readers[1].body), peer.readers[1].was_aborted) == (INITIAL_WINDOW + SPARE_WINDOW, 1)
    assert peer.readers[3].body == b"z"


def test_what_is_granted_may_be_sent_and_padding_is_given_back() -> None:
    peer = ready(1)
    peer.send(*[DataFrame(1, bytes(1 << 14))] * (INITIAL_WINDOW >> 14), DataFrame(1, bytes(SPARE_WINDOW)))
    peer.connection.grant(peer.readers[1].stream, 300)
    assert [(each.stream_id, each.window_increment) for each in peer.back()] == [(1, 300)]
    (back,) = peer.send(DataFrame(1, b"x" * 100, flags=["PADDED"], pad_length=199))
    assert (back.stream_id, back.window_increment) == (1, 200)
    assert peer.send(DataFrame(1, b"x" * 200)) == []
    assert resets(peer.send(DataFrame(1, b"x"))) == [(1, ErrorCode.FLOW_CONTROL_ERROR)]


def test_a_receiver_that_grants_just_what_it_expects_leaves_the_window_open_for_the_end() -> None:
    peer = Peer()
    (told, *_) = peer.back()
    window = told.settings[INITIAL]
    peer.send(PREFACE, SettingsFrame(0), opened(1))
    peer.connection.grant(peer.readers[1].stream, 1000)
    assert window + sum([each.window_increment for each in peer.back()]) > INITIAL_WINDOW + 1000


# ---- what is sent


@pytest.mark.parametrize("size", [0, 1024, 4095])
def test_a_peer_with_a_small_table_is_told_once_that_we_use_none(size: int) -> None:
    peer = ready(1, 3)
    decoder = hpack.Decoder()
    peer.send(SettingsFrame(0, settings={SettingsFrame.HEADER_TABLE_SIZE: size}))
    decoder.max_allowed_table_size = size
    peer.connection.send_headers(peer.readers[1].stream, b"\x88")
    answers = peer.send(SettingsFrame(0, settings={SettingsFrame.HEADER_TABLE_SIZE: 0}))
    peer.connection.respond(peer.readers[3].stream, b"\x88", b"", TRAILERS)
    blocks = [each.data for each in answers + peer.back() if isinstance(each, h2.HeadersFrame)]
    assert [list(decoder.decode(block)) for block in blocks] == [[(":status", "200")], [(":status", "200")], [("a", "b")]]


def test_frames_are_small_enough_for_the_transport_to_be_asked_between_them() -> None:
    """Whatever the peer allows: what the transport has taken is not counted to the stream any more."""
    peer = ready(1)
    peer.send(
        SettingsFrame(0, settings={INITIAL: (1 << 31) - 1, FRAME_SIZE: (1 << 24) - 1}), WindowUpdateFrame(0, window_increment=1 << 30)
    )
    peer.connection.send_data(peer.readers[1].stream, bytes(4 << 20))
    assert sum([len(each.data) for each in peer.back() if isinstance(each, DataFrame)]) <= 512 << 10


BODIES = {stream: bytes([stream]) * size for stream, size in ((1, 200_000), (3, 70_000), (5, 3_000))}
STREAMS = st.sampled_from(list(BODIES))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.just("window"), st.just(0) | STREAMS, st.integers(1, 100_000))
        | st.tuples(st.just("initial"), st.just(0), st.integers(0, 150_000))
        | st.tuples(st.just("frame size"), st.just(0), st.integers(16384, 40_000))
        | st.tuples(st.just("pause"), st.just(0), st.integers(0, 1))
        | st.tuples(st.sampled_from(["answer", "answer", "reset"]), STREAMS, st.just(0)),
        max_size=30,
    )
)
def test_no_more_is_sent_than_windows_allow_and_everything_in_the_end(steps: list[tuple[str, int, int]]) -> None:
    peer = ready(*[2 * number + 1 for number in range(3)])
    connection, initial, frame_size = peer.connection, 65_535, 16_384
    windows = dict.fromkeys((0, *BODIES), 65_535)
    arrived, ended, was_reset = dict.fromkeys(BODIES, b""), set[int](), set[int]()
    unanswered = set(BODIES)

    def answer(stream: int) -> None:
        unanswered.remove(stream)
        body, open_stream = BODIES[stream], peer.readers[stream].stream
        if stream == 5:
            connection.respond(open_stream, b"\x88", body, TRAILERS)
            return
        connection.send_headers(open_stream, b"\x88")
        for piece in (body[:5], b"", body[5:]):
            connection.send_data(open_stream, piece)
        connection.send_trailers(open_stream, TRAILERS)

    def note(frames: list[Frame]) -> None:
        for each in frames:
            if isinstance(each, DataFrame):
                assert not connection.sending.paused
                size, stream = len(each.data), each.stream_id
                assert not size or size <= min(frame_size, windows[0], windows[stream])
                arrived[stream] += each.data
                windows[stream], windows[0] = windows[stream] - size, windows[0] - size
            if each.stream_id:
                assert each.stream_id not in ended | was_reset
            if isinstance(each, RstStreamFrame):  # the request had not ended; see below
                ended.add(each.stream_id)

    finish = [("pause", 0, 0), ("window", 0, 1 << 20), *[("window", stream, 1 << 20) for stream in BODIES]]
    for kind, stream, number in [*steps, *[("answer", stream, 0) for stream in BODIES], *finish]:
        if kind == "window":
            windows[stream] += number
            peer.receive(WindowUpdateFrame(stream, window_increment=number).serialize())
        elif kind == "initial":
            for each in BODIES:
                windows[each] += number - initial
            initial = number
            peer.receive(SettingsFrame(0, settings={INITIAL: number}).serialize())
        elif kind == "frame size":
            frame_size = number
            peer.receive(SettingsFrame(0, settings={FRAME_SIZE: number}).serialize())
        elif kind == "pause":
            connection.sending.paused = bool(number)
            connection.resume()
        elif kind == "reset" and stream not in ended:
            was_reset.add(stream)
            unanswered.discard(stream)
            peer.receive(RstStreamFrame(stream, error_code=8).serialize())
        elif kind == "answer" and stream in unanswered:
            answer(stream)
        while connection.sending.unsent:
            note(peer.back())
            connection.resume()
    for stream, body in BODIES.items():
        assert body.startswith(arrived[stream])
        assert (stream in ended and arrived[stream] == body) or stream in was_reset
    assert not connection.streams


def test_trailers_come_last_and_a_request_that_is_not_wanted_any_more_is_reset() -> None:
    peer = ready(1, 3)
    peer.connection.respond(peer.readers[1].stream, b"\x88", b"x" * 70_000, TRAILERS)
    frames = peer.back() + peer.send(WindowUpdateFrame(0, window_increment=9999), WindowUpdateFrame(1, window_increment=9999))
    *_, last_data, trailers, reset = frames
    assert (type(last_data), "END_STREAM" in trailers.flags, resets([reset])) == (DataFrame, True, [(1, ErrorCode.NO_ERROR)])
    assert peer.send(DataFrame(1, b"late", flags=["END_STREAM"]), DataFrame(3, b"z")) == []
    assert (peer.readers[1].body, peer.readers[1].was_aborted, peer.readers[3].body) == (b"", 0, b"z")


# ---- streams that end early, and connections that end


def test_streams_above_the_limit_are_refused_and_those_that_end_make_room() -> None:
    peer = ready(1, 3, max_streams=2)
    assert resets(peer.send(opened(5), DataFrame(5, b"x"))) == [(5, ErrorCode.REFUSED_STREAM)]
    assert peer.send(RstStreamFrame(1, error_code=8), opened(7)) == []
    assert (peer.readers[1].was_aborted, list(peer.connection.streams)) == (1, [3, 7])
    peer.connection.lost()
    peer.connection.lost()
    assert [reader.was_aborted for reader in peer.readers.values()] == [1, 1, 1]
    assert not peer.connection.streams


def test_a_connection_that_drains_serves_what_its_peer_opened_before_it_heard() -> None:
    peer = ready(1)
    peer.connection.drain()
    goodbye, ping = peer.back()
    assert (goodbye.last_stream_id, goodbye.error_code) == (MAX_WINDOW, ErrorCode.NO_ERROR)
    assert peer.send(opened(3)) == []
    (goodbye,) = peer.send(h2.PingFrame(0, ping.opaque_data, flags=["ACK"]))
    assert (goodbye.last_stream_id, goodbye.error_code) == (3, ErrorCode.NO_ERROR)
    assert resets(peer.send(opened(5))) == [(5, ErrorCode.REFUSED_STREAM)]
    assert list(peer.connection.streams) == [1, 3]
