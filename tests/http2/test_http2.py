# SPDX-License-Identifier: Apache-2.0
"""What ends an HTTP/2 connection or one of its streams, without I/O: frames by hand, and what the connection answers."""

import pytest
from hyperframe import frame as h2
from hyperframe.frame import DataFrame, Frame, RstStreamFrame, SettingsFrame

from lossd_server.http2.frames import MAX_WINDOW, ConnectionFault, ErrorCode, frame
from support.http2_peer import BLOCK, FRAME_SIZE, INITIAL, Peer, opened, ready, resets

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


def test_bytes_that_are_not_http_2_end_the_connection() -> None:
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
