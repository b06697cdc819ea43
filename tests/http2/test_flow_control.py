# SPDX-License-Identifier: Apache-2.0
"""What a peer may send and what it is sent, without I/O: windows, the order of frames, and the table of headers."""

import hpack
import pytest
from hyperframe import frame as h2
from hyperframe.frame import DataFrame, Frame, RstStreamFrame, SettingsFrame, WindowUpdateFrame
from hypothesis import given, settings
from hypothesis import strategies as st

from lossd_server.http2.frames import PREFACE, ErrorCode
from lossd_server.http2.streams import INITIAL_WINDOW, SPARE_WINDOW
from support.http2_peer import FRAME_SIZE, INITIAL, TRAILERS, Peer, opened, ready, resets

# ---- what a peer may send


def test_a_peer_that_sends_more_than_it_may_loses_that_stream() -> None:
    peer = ready(1, 3)
    full = [DataFrame(1, bytes(1 << 14))] * (INITIAL_WINDOW >> 14)
    assert peer.send(*full, DataFrame(1, bytes(SPARE_WINDOW))) == []
    assert resets(peer.send(DataFrame(1, b"x"), DataFrame(1, b"y"), DataFrame(3, b"z"))) == [(1, ErrorCode.FLOW_CONTROL_ERROR)]
    assert (len(peer.readers[1].body), peer.readers[1].was_aborted) == (INITIAL_WINDOW + SPARE_WINDOW, 1)
    assert peer.readers[3].body == b"z"


def test_a_peer_may_send_what_its_window_allows_and_padding_is_credited_back() -> None:
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
def test_a_peer_with_a_small_table_is_told_once_that_the_table_is_not_used(size: int) -> None:
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
def test_no_more_is_sent_than_the_windows_allow_and_everything_is_sent_in_the_end(steps: list[tuple[str, int, int]]) -> None:
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


def test_trailers_come_last_and_a_request_that_is_no_longer_needed_is_reset() -> None:
    peer = ready(1, 3)
    peer.connection.respond(peer.readers[1].stream, b"\x88", b"x" * 70_000, TRAILERS)
    frames = peer.back() + peer.send(WindowUpdateFrame(0, window_increment=9999), WindowUpdateFrame(1, window_increment=9999))
    *_, last_data, trailers, reset = frames
    assert (type(last_data), "END_STREAM" in trailers.flags, resets([reset])) == (DataFrame, True, [(1, ErrorCode.NO_ERROR)])
    assert peer.send(DataFrame(1, b"late", flags=["END_STREAM"]), DataFrame(3, b"z")) == []
    assert (peer.readers[1].body, peer.readers[1].was_aborted, peer.readers[3].body) == (b"", 0, b"z")
