# SPDX-License-Identifier: Apache-2.0
"""The budget of work: a client that is served is never ended, no matter what else it sends; tests/front/test_floods.py has the rest.

The clock stands still unless a test moves it, so that nothing is forgiven with time.
"""

import itertools

import hpack
import pytest
from hyperframe.frame import DataFrame, PingFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame

from lossd_server.http2.frames import ConnectionFault, ErrorCode, frame
from support.http2_peer import BLOCK, INITIAL, TRAILERS, Peer, opened, ready

SMALL = b"x" * 20


def widened(stream: int, nbytes: int) -> list[WindowUpdateFrame]:
    return [WindowUpdateFrame(each, window_increment=nbytes) for each in (0, stream)]


def serve(peer: Peer, stream: int, answer: bytes) -> None:
    """Answers a request that has come, and forgets it."""
    peer.connection.respond(peer.readers.pop(stream).stream, b"\x88", answer, TRAILERS)
    peer.back()


def test_unary_calls_with_a_ping_and_two_windows_each() -> None:
    peer = ready()
    for stream in range(1, 30_001, 2):
        peer.send(opened(stream), DataFrame(stream, SMALL), DataFrame(stream, b"", flags=["END_STREAM"]))
        serve(peer, stream, SMALL)
        peer.send(PingFrame(0, b"bandwide"), *widened(stream, len(SMALL)))


def test_calls_whose_headers_are_never_the_same() -> None:
    peer, headers = ready(), hpack.Encoder()
    peer.send(WindowUpdateFrame(0, window_increment=1 << 30))
    for stream in range(1, 10_001, 2):
        fields = [(":method", "POST"), (":scheme", "http"), (":path", "/a"), ("traceparent", f"{stream:055}")]
        fields += [(f"field-{number}", "value") for number in range(8)]
        peer.send(frame(1, 5, stream, headers.encode(fields)))
        serve(peer, stream, SMALL)


def test_large_answers_whose_every_piece_is_acknowledged() -> None:
    peer = ready()
    for stream in range(1, 801, 2):
        peer.send(opened(stream, "END_STREAM"))
        peer.connection.respond(peer.readers.pop(stream).stream, b"\x88", bytes(1 << 20), TRAILERS)
        sizes = [len(each.data) for each in peer.back() if isinstance(each, DataFrame)]
        while sizes:
            frames = peer.send(PingFrame(0, b"bandwide"), *[each for size in sizes for each in widened(stream, size)])
            sizes = [len(each.data) for each in frames if isinstance(each, DataFrame)]
        assert not peer.connection.streams


def test_large_requests_in_small_frames() -> None:
    peer = ready()
    for stream in range(1, 41, 2):
        peer.send(opened(stream))
        for _ in range(1000):
            peer.send(DataFrame(stream, bytes(1 << 10)))
            peer.connection.grant(peer.readers[stream].stream, 1 << 10)
            peer.back()
        peer.send(DataFrame(stream, b"", flags=["END_STREAM"]))
        serve(peer, stream, SMALL)


@pytest.mark.parametrize("answers", [True, False])
def test_a_stream_of_small_messages(answers: bool) -> None:
    peer = ready(1)
    stream = peer.readers[1].stream
    peer.connection.send_headers(stream, b"\x88")
    for _ in range(30_000):
        peer.send(DataFrame(1, SMALL))
        peer.connection.grant(stream, len(SMALL))
        if answers:
            peer.connection.send_data(stream, SMALL)
            peer.send(*widened(1, len(SMALL)))
        peer.back()
        peer.readers[1].body = b""


def at(peer: Peer, now: float, *parts: bytes) -> None:
    used_up = peer.connection.receive(memoryview(b"".join(parts)), now)
    while used_up:
        used_up = peer.connection.go_on(now)
    peer.connection.take()


def test_calls_that_are_cancelled_and_a_slow_reader_at_a_bearable_rate() -> None:
    peer = ready(1)
    at(peer, 1.0, SettingsFrame(0, settings={INITIAL: 0}).serialize())
    peer.connection.send_data(peer.readers[1].stream, bytes(1 << 20))
    window, reset = (1).to_bytes(4), (8).to_bytes(4)
    for number in range(10_000):  # 400 a second, and as many windows of one byte
        stream = 2 * number + 3
        now = 1.0 + number / 400
        at(peer, now, frame(1, 4, stream, BLOCK), frame(3, 0, stream, reset), frame(8, 0, 1, window), frame(8, 0, 0, window))
        del peer.readers[stream]


def test_as_many_at_once_end_the_connection() -> None:
    peer = ready()
    cancelled = [part for stream in range(1, 20_001, 2) for part in (opened(stream), RstStreamFrame(stream, error_code=8))]
    with pytest.raises(ConnectionFault) as fault:
        peer.send(*cancelled)
    assert fault.value.code is ErrorCode.ENHANCE_YOUR_CALM


def test_the_next_slice_reads_what_the_last_one_left() -> None:
    peer = ready(max_streams=1000)
    data = b"".join([opened(stream, "END_STREAM").serialize() for stream in range(1, 2001, 2)])
    seen = []
    used_up = peer.connection.receive(memoryview(data))
    while used_up:
        seen.append(len(peer.opened))
        used_up = peer.connection.go_on()
    assert len(seen) > 2
    assert max([later - before for before, later in itertools.pairwise(seen)]) < 300
    assert [stream for stream, *_ in peer.opened] == list(range(1, 2001, 2))
