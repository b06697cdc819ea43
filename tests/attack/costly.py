# SPDX-License-Identifier: Apache-2.0
"""Messages that are valid, or refused for a good reason, and cost far more to read or to compute than to send."""

import asyncio
import itertools
import struct
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import grpc
import numpy as np

from lossd import twins
from lossd.v1 import evaluation_service_pb2 as evaluation_pb2
from lossd.v1 import options_pb2, vocabulary_pb2
from support.wire_format import varint, within

from .attack import Attack, Outcome

LOSS = "/lossd.v1.LossService/"
EVALUATION = "/lossd.v1.EvaluationService/"
_LARGEST = 64 << 20  # bytes of a message, by default
_CALLS = 16_384
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]


# -- messages


def _pair(*, shape: Sequence[int] = (1,)) -> bytes:
    tensor = b"".join([within(1, b"".join([varint(n) for n in shape])), within(2, within(1, struct.pack("<f", 0.5)))])
    return within(1, tensor) + within(2, tensor)


def _triplet(margin: float, p: float, eps: float) -> bytes:
    tensor = within(1, b"\x01\x01") + within(2, within(1, struct.pack("<f", 0.5)))
    message = evaluation_pb2.LossCall()
    message.triplet_margin_loss.margin, message.triplet_margin_loss.p, message.triplet_margin_loss.eps = margin, p, eps
    message.triplet_margin_loss.precision = options_pb2.PRECISION_FLOAT64  # float32 has too few such numbers
    options = message.triplet_margin_loss.SerializeToString()
    return within(19, b"".join([within(number, tensor) for number in (1, 2, 3)]) + options)


def colliding_calls(count: int = _CALLS) -> list[bytes]:
    """LossCalls whose hyper-parameters differ and whose hashes do not: Python's hash of a float is its value modulo 2^61 - 1, so
    2^61 x has that of x.
    """
    numbers = [2.0 ** (61 * power) for power in range(-16, 17)]
    return [_triplet(*chosen) for chosen in itertools.islice(itertools.product(numbers, repeat=3), count)]


def huber_calls(count: int = _CALLS, *, different: bool = True) -> list[bytes]:
    """LossCalls of one element each, with hyper-parameters of their own or all the same."""
    pair = _pair()
    return [within(4, pair + b"\x51" + struct.pack("<d", 1.0 + different * index / 1024)) for index in range(count)]


def batch(calls: Iterable[bytes]) -> bytes:
    return b"".join([within(1, call) for call in calls])


def evaluation(calls: Iterable[bytes]) -> bytes:
    return b"".join([within(1, within(1, b"a") + within(2, call)) for call in calls])


def streamed(calls: Iterable[bytes]) -> bytes:
    return b"".join([within(1, b"\x08" + varint(index + 1) + within(2, call)) for index, call in enumerate(calls)])


def unknown_varints() -> bytes:
    """A valid request, and behind it 33 million varints of a field that nobody knows."""
    return _pair() + b"\x18\x01" * (_LARGEST // 2 - 100)


def single_floats() -> bytes:
    """A tensor of 13 million floats, each with a tag of its own."""
    count = _LARGEST // 5 - 100
    tensor = within(1, within(1, varint(count)) + within(2, b"\x0d\0\0\0\0" * count))
    return tensor + within(2, within(1, varint(count)) + within(2, within(1, b"")))


def bools_with_a_two() -> bytes:
    values = bytearray(b"\x01") * 62_000_000
    values[-1] = 2
    return within(1, within(1, varint(len(values))) + within(6, within(1, bytes(values))))


def shape_of_ones() -> bytes:
    """A tensor of one element whose shape has 60 million extents."""
    extents = b"\x01" * 60_000_000
    return within(1, within(1, extents) + within(2, within(1, struct.pack("<f", 0.5))))


def adaptive(rows: int, clusters: int = 1024) -> bytes:
    """AdaptiveLogSoftmaxWithLoss with as many clusters as may be."""
    request = twins.public("AdaptiveLogSoftmaxWithLossRequest")()
    request.input.shape.extend((rows, 1))
    request.input.bfloat16_values = bytes(2 * rows)
    request.target.shape.append(rows)
    request.target.uint8_values = (np.arange(rows) % 251).astype(np.uint8).tobytes()
    request.head_weight.shape.extend((1 + clusters, 1))
    request.head_weight.bfloat16_values = bytes(2 * (1 + clusters))
    for index in range(clusters):
        request.cutoffs.append(index + 1)
        for tensor in (cluster := request.tail.add()).projection, cluster.output:
            tensor.shape.extend((1, 1))
            tensor.bfloat16_values = bytes(2)
    encoded: bytes = request.SerializeToString()
    return encoded


def linear_cross_entropy(rows: int, classes: int, features: int = 1) -> bytes:
    """Rows x classes scores, of a request that holds rows + classes numbers."""
    request = vocabulary_pb2.LinearCrossEntropyLossRequest()
    request.input.shape.extend((rows, features))
    request.input.bfloat16_values = bytes(2 * rows * features)
    request.linear_weight.shape.extend((classes, features))
    request.linear_weight.bfloat16_values = bytes(2 * classes * features)
    request.class_indices.shape.append(rows)
    request.class_indices.uint8_values = bytes(rows)
    return request.SerializeToString()


# -- sending them


async def unary(rpc: str, make: Callable[[], bytes], address: str, seconds: float, *, gzip: bool = False, at_once: int = 1) -> Outcome:
    """The message again and again, each as soon as the last is answered, `at_once` of them."""
    message, outcome = make(), Outcome()
    end = time.monotonic() + seconds
    compression = grpc.Compression.Gzip if gzip else grpc.Compression.NoCompression
    async with grpc.aio.insecure_channel(address, OPTIONS, compression) as channel:
        call = channel.unary_unary(rpc)

        async def again() -> None:
            while time.monotonic() < end:
                outcome.sent += 1
                try:
                    await call(message, timeout=120)
                    outcome.count("answered")
                except grpc.aio.AioRpcError as error:
                    outcome.count(f"{error.code().name}: {(error.details() or '')[:60]}")

        await asyncio.wait([asyncio.create_task(again()) for _ in range(at_once)], timeout=1.5 * seconds)
    return outcome


async def evaluate(make: Callable[[], bytes], address: str, seconds: float, *, streams: int, messages: int) -> Outcome:
    """Streams of so many of the message each, all at once, again and again."""
    message, outcome = make(), Outcome()
    end = time.monotonic() + seconds
    async with grpc.aio.insecure_channel(address, OPTIONS) as channel:
        call = channel.stream_unary(EVALUATION + "Evaluate")

        async def again() -> None:
            while time.monotonic() < end:
                outcome.sent += 1
                try:
                    await call(iter([message] * messages), timeout=120)
                    outcome.count("answered")
                except grpc.aio.AioRpcError as error:
                    outcome.count(f"{error.code().name}: {(error.details() or '')[:60]}")

        await asyncio.wait([asyncio.create_task(again()) for _ in range(streams)], timeout=2.5 * seconds)
    return outcome


async def _score_stream(make: Callable[[], bytes], address: str, seconds: float) -> Outcome:
    """The message again and again over one stream, each when the last is answered."""
    message, outcome, calls = make(), Outcome(), 0
    end = time.monotonic() + seconds
    async with grpc.aio.insecure_channel(address, OPTIONS) as channel:
        stream = channel.stream_stream(EVALUATION + "ScoreStream")()
        try:
            while time.monotonic() < end:
                await stream.write(message)
                outcome.sent += 1
                calls += _CALLS
                while calls:
                    answer = await stream.read()
                    assert answer is not grpc.aio.EOF
                    calls -= len(evaluation_pb2.ScoreStreamResponse.FromString(answer).outcomes)
                outcome.count("answered")
        except grpc.aio.AioRpcError as error:
            outcome.count(f"{error.code().name}: {(error.details() or '')[:60]}")
        stream.cancel()
    return outcome


_BATCH = EVALUATION + "ScoreBatch"
_MSE, _ADAPTIVE, _LINEAR = LOSS + "MseLoss", LOSS + "AdaptiveLogSoftmaxWithLoss", LOSS + "LinearCrossEntropyLoss"

ATTACKS = (
    Attack("ScoreBatch of 16,384 calls whose keys have equal hashes", "7", partial(unary, _BATCH, lambda: batch(colliding_calls()))),
    Attack("ScoreBatch of 16,384 different small calls", "8", partial(unary, _BATCH, lambda: batch(huber_calls()))),
    Attack("ScoreBatch of 16,384 equal small calls", "8", partial(unary, _BATCH, lambda: batch(huber_calls(different=False)))),
    Attack(
        "ScoreBatch of 16,384 different small calls over unix:PATH",
        "8",
        partial(unary, _BATCH, lambda: batch(huber_calls())),
        settings={"LISTEN": "unix:{folder}/socket"},
    ),
    Attack(
        "Evaluate message of 16,384 different small calls",
        "8",
        partial(evaluate, lambda: evaluation(huber_calls()), streams=1, messages=1),
    ),
    Attack("ScoreStream message of 16,384 different small calls", "8", partial(_score_stream, lambda: streamed(huber_calls()))),
    Attack("64 MiB of unknown varints", "9", partial(unary, _MSE, unknown_varints)),
    Attack("64 MiB of unknown varints, as 65 KB of gzip", "9", partial(unary, _MSE, unknown_varints, gzip=True)),
    Attack("13 million floats with a tag each, as gzip", "9", partial(unary, _MSE, single_floats, gzip=True)),
    Attack("62 million bools of which one is 2, as gzip", "9", partial(unary, _MSE, bools_with_a_two, gzip=True)),
    Attack("a shape of 60 million extents, as gzip", "9", partial(unary, _MSE, shape_of_ones, gzip=True)),
    Attack(
        "AdaptiveLogSoftmaxWithLoss of 1,024 clusters and 8 million rows, as gzip",
        "9",
        partial(unary, _ADAPTIVE, lambda: adaptive(8_000_000), gzip=True),
    ),
    Attack("LinearCrossEntropyLoss of 180 KB", "2", partial(unary, _LINEAR, lambda: linear_cross_entropy(36_000, 36_000))),
    Attack(
        "LinearCrossEntropyLoss near 10^12 operations",
        "10",
        partial(unary, _LINEAR, lambda: linear_cross_entropy(178_000, 178_000)),
    ),
    Attack(
        "30 Evaluate streams of two messages of 10,000 calls",
        "12",
        partial(evaluate, lambda: evaluation(huber_calls(10_000)), streams=30, messages=2),
    ),
)
