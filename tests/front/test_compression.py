# SPDX-License-Identifier: Apache-2.0
"""Compressed messages: which are accepted, the memory that counts for them, and the order in which callers' messages are unpacked."""

import asyncio
import gzip
import os
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hyperframe.frame import DataFrame, RstStreamFrame

from lossd.v1 import evaluation_service_pb2 as pb
from lossd_server.admission import OVERHEAD_BYTES, Admission
from lossd_server.errors import CallError, InFlightFull, MessageMalformed, RequestTooLarge, Unimplemented
from lossd_server.front import compression
from lossd_server.front.compression import Unpacker
from support.encoded_requests import encoded
from support.grpc_wire import EVALUATE, INVALID, MSE, OK, answer_of, begin, prefixed
from support.harness import Harness, run, square, wait_until
from support.raw_connection import wire

LIMIT = 1 << 20
PATTERN, NOISE = b"0123456789" * 20_000, os.urandom(200_000)
MEMBER = gzip.compress(b"abc")

CASES: dict[str, tuple[str, bytes, bytes | type[CallError]]] = {
    "nothing": ("gzip", gzip.compress(b""), b""),
    "short": ("gzip", MEMBER, b"abc"),
    "long": ("gzip", gzip.compress(PATTERN), PATTERN),
    "long and hardly compressed": ("gzip", gzip.compress(NOISE), NOISE),
    "deflate": ("deflate", zlib.compress(b"abc"), b"abc"),
    "long deflate": ("deflate", zlib.compress(PATTERN), PATTERN),
    "just at the limit": ("gzip", gzip.compress(bytes(LIMIT)), bytes(LIMIT)),
    "above the limit": ("gzip", gzip.compress(bytes(LIMIT + 1)), RequestTooLarge),
    "above the limit, deflate": ("deflate", zlib.compress(bytes(LIMIT + 1)), RequestTooLarge),
    "a claim that is too small": ("gzip", gzip.compress(PATTERN)[:-4] + (9).to_bytes(4, "little"), MessageMalformed),
    "a claim that is too large": ("gzip", MEMBER[:-4] + (1 << 31).to_bytes(4, "little"), MessageMalformed),
    "two members": ("gzip", MEMBER * 2, MessageMalformed),
    "two long members": ("gzip", gzip.compress(PATTERN) * 2, MessageMalformed),
    "bytes after the member": ("gzip", MEMBER + b"x", MessageMalformed),
    "bytes after deflate": ("deflate", zlib.compress(b"abc") + b"x", MessageMalformed),
    "cut off": ("gzip", gzip.compress(PATTERN)[:-9], MessageMalformed),
    "another format": ("gzip", zlib.compress(b"abc"), MessageMalformed),
    "no bytes at all": ("gzip", b"", MessageMalformed),
    "another encoding": ("br", MEMBER, Unimplemented),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "on a thread"])
def test_what_a_message_unpacks_to(case: str, at_once: bool) -> None:
    encoding, packed, expected = CASES[case]

    async def unpack() -> bytes:
        unpacker, admission = Unpacker(), Admission(1 << 30)
        if at_once:
            short = unpacker.unpack_short(packed, encoding, LIMIT)
            if short is not None:
                return short
        message, hold = await unpacker.unpack(packed, encoding, LIMIT, "", lambda nbytes: admission.reserve(nbytes))
        assert admission.in_flight_bytes == OVERHEAD_BYTES + len(message)
        hold.release()
        return message

    if isinstance(expected, bytes):
        assert asyncio.run(unpack()) == expected
    else:
        with pytest.raises(expected):
            asyncio.run(unpack())


@pytest.mark.parametrize("case", [case for case, (_, _, expected) in CASES.items() if not isinstance(expected, bytes)])
def test_a_message_that_cannot_be_unpacked_leaves_nothing_behind(case: str) -> None:
    encoding, packed, expected = CASES[case]

    async def unpack() -> None:
        admission = Admission(1 << 30)
        with pytest.raises(expected):  # type: ignore[arg-type]
            await Unpacker().unpack(packed, encoding, LIMIT, "", admission.reserve)
        assert admission.in_flight_bytes == 0

    asyncio.run(unpack())


def test_the_room_for_a_message_is_what_it_unpacks_to_and_never_more_than_one_may_have() -> None:
    rooms: list[int] = []

    async def unpack(packed: bytes, encoding: str) -> None:
        admission = Admission(1 << 30)

        def reserve(nbytes: int) -> Any:
            assert admission.in_flight_bytes == 0  # what an attempt before this one had was given back
            rooms.append(nbytes)
            return admission.reserve(nbytes)

        await Unpacker().unpack(packed, encoding, LIMIT, "", reserve)

    asyncio.run(unpack(gzip.compress(bytes(LIMIT)), "gzip"))
    assert rooms == [LIMIT]
    rooms.clear()
    asyncio.run(unpack(zlib.compress(bytes(LIMIT)), "deflate"))
    assert rooms == sorted(rooms)
    assert rooms[-1] == LIMIT
    assert len(rooms) < 6


def test_short_messages_of_one_turn_take_a_share_of_it_and_no_more() -> None:
    async def unpack() -> None:
        unpacker = Unpacker()
        short = gzip.compress(bytes(30_000))
        done = 0
        while unpacker.unpack_short(short, "gzip", LIMIT) is not None:
            done += 1
        assert 1 < done < 10
        await asyncio.sleep(0)
        assert unpacker.unpack_short(short, "gzip", LIMIT) is not None

    asyncio.run(unpack())


class Threads:
    """Holds attempts back until they are let go, in place of zlib."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun: list[bytes] = []
        self._done: dict[bytes, asyncio.Future[bytes]] = {}
        monkeypatch.setattr(asyncio.get_running_loop(), "run_in_executor", self._run)

    def _run(self, _: None, unpack: Callable[..., bytes], message: bytes, *args: Any) -> "asyncio.Future[bytes]":
        self.begun.append(message)
        self._done[message] = done = asyncio.get_running_loop().create_future()
        return done

    def end(self, message: bytes) -> None:
        self._done.pop(message).set_result(message)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_caller_has_one_thread_and_callers_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        threads, unpacker, admission = Threads(monkeypatch), Unpacker(), Admission(1 << 30)

        def ask(caller: str, message: bytes) -> "asyncio.Future[Any]":
            return asyncio.ensure_future(
                unpacker.unpack(message, "deflate", LIMIT, caller, lambda nbytes: admission.reserve(nbytes, caller))
            )

        bombs = [ask("mallory", b"m%d" % number) for number in range(4)]
        await settle()
        assert threads.begun == [b"m0"]
        others = [ask("alice", b"a0"), ask("bob", b"b0")]
        await settle()
        assert threads.begun == [b"m0", b"a0"]
        for ended, begun in ((b"m0", b"m1"), (b"m1", b"b0"), (b"a0", b"m2")):
            threads.end(ended)
            await settle()
            assert threads.begun[-1] == begun
        bombs[3].cancel()
        threads.end(b"m2")
        threads.end(b"b0")
        await settle()
        assert threads.begun == [b"m0", b"a0", b"m1", b"b0", b"m2"]
        for done in (*bombs[:3], *others):
            (await done)[1].release()
        assert admission.in_flight_bytes == 0

    asyncio.run(scenario())


def test_a_cancelled_caller_keeps_its_thread_and_room_until_the_thread_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        threads, unpacker, admission = Threads(monkeypatch), Unpacker(), Admission(1 << 30)
        first = asyncio.ensure_future(unpacker.unpack(b"first", "deflate", LIMIT, "x", admission.reserve))
        second = asyncio.ensure_future(unpacker.unpack(b"second", "deflate", LIMIT, "x", admission.reserve))
        await settle()
        first.cancel()
        await settle()
        assert first.cancelled()
        assert (threads.begun, admission.in_flight_bytes > 0) == ([b"first"], True)
        threads.end(b"first")
        await settle()
        assert threads.begun == [b"first", b"second"]
        threads.end(b"second")
        (await second)[1].release()
        assert admission.in_flight_bytes == 0

    asyncio.run(scenario())


# ---- through the server


def padded(message: bytes, nbytes: int) -> bytes:
    """The message with an unknown field."""
    size = nbytes - len(message)
    return message + b"\xfa\x7f" + bytes((size & 127 | 128, size >> 7 & 127 | 128, size >> 14)) + bytes(size)


@pytest.mark.parametrize("body", [b"", bytes(100_000)], ids=["short", "long"])
@pytest.mark.parametrize("tail", [b"x", MEMBER], ids=["a byte", "a member"])
def test_a_request_with_more_than_one_member_is_refused(body: bytes, tail: bytes) -> None:
    async def scenario(harness: Harness) -> None:
        async with wire(harness) as client:
            begin(client, grpc_encoding="gzip")
            client.send(DataFrame(1, prefixed(gzip.compress(body) + tail, 1), flags=["END_STREAM"]))
            answer = await answer_of(client)
            assert (answer["grpc-status"], "only one gzip member" in answer["grpc-message"]) == (INVALID, True)

    run(scenario)


@pytest.mark.parametrize("path", [MSE, EVALUATE])
@pytest.mark.parametrize("nbytes", [100, 1000, 200_000])
def test_a_compressed_request_is_answered(path: str, nbytes: int) -> None:
    message = encoded("mse_loss", input=[3.0], target=[1.0])[1]
    if path == EVALUATE:
        message = pb.EvaluateRequest(calls=[pb.SeriesCall(series="x", call=square(2))]).SerializeToString()

    async def scenario(harness: Harness) -> None:
        async with wire(harness) as client:
            begin(client, path=path, grpc_encoding="gzip")
            body = prefixed(gzip.compress(padded(message, nbytes)), 1)
            client.send(DataFrame(1, body * (3 if path == EVALUATE else 1), flags=["END_STREAM"]))
            assert (await answer_of(client))["grpc-status"] == OK

    run(scenario)


def test_a_message_on_a_stream_is_unpacked_when_there_is_room_and_counts_while_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    unpacked: list[int] = []
    unpack = compression._unpacked
    monkeypatch.setattr(compression, "_unpacked", lambda message, *rest: (unpacked.append(len(message)), unpack(message, *rest))[1])
    message = pb.EvaluateRequest(calls=[pb.SeriesCall(series="x", call=square(2))]).SerializeToString()

    async def scenario(harness: Harness) -> None:
        async with wire(harness) as client:
            begin(client, path=EVALUATE, grpc_encoding="gzip")
            await wait_until(lambda: bool(harness.evaluation._streams))
            held = harness.admission.in_flight_bytes
            with harness.admission.hold((4 << 20) - (300 << 10), "another"):
                client.send(DataFrame(1, prefixed(gzip.compress(padded(message, 900_000)), 1), flags=["END_STREAM"]))
                for _ in range(20):
                    await asyncio.sleep(0.01)
                assert unpacked == []
                assert harness.admission._shares.held("127.0.0.1") >= held
            assert (await answer_of(client))["grpc-status"] == OK
            assert len(unpacked) == 1

    run(scenario, max_in_flight_bytes=4 << 20)


def test_a_stream_that_ends_while_its_message_is_unpacked_leaves_nothing_behind() -> None:
    async def scenario(harness: Harness) -> None:
        bomb = prefixed(gzip.compress(bytes(1 << 20)), 1)
        async with wire(harness) as client:
            for number in range(20):
                begin(client, stream=2 * number + 1, path=EVALUATE if number % 2 else MSE, grpc_encoding="gzip")
                client.send(DataFrame(2 * number + 1, bomb), RstStreamFrame(2 * number + 1, error_code=8))
            await wait_until(lambda: harness.admission.in_flight_bytes == 0)

    run(scenario)


def test_unary_requests_without_room_to_unpack_are_told_to_try_again() -> None:
    async def unpack() -> None:
        admission = Admission(2 << 20)
        with admission.hold(1 << 20, "x"), pytest.raises(InFlightFull):
            await Unpacker().unpack(gzip.compress(bytes(LIMIT)), "gzip", LIMIT, "x", lambda nbytes: admission.reserve(nbytes, "x"))
        assert admission.in_flight_bytes == 0

    asyncio.run(unpack())
