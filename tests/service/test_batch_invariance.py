# SPDX-License-Identifier: Apache-2.0
"""Promise 2: alone, or merged with any neighbours in any batch size, an answer has the same bytes."""

import itertools
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

import lossd
from lossd_server.call import Answer, Call
from lossd_server.compute.batch import compute
from lossd_server.compute.memory import HostMemory, Memory, StagedMemory
from lossd_server.errors import TooManyFields
from lossd_server.losses import LOSSES
from lossd_server.losses.spec import Coalescing
from samples import SAMPLES, Kwargs, LossSamples, Sizes
from samples.record import map_tensors, rng
from support.encoded_requests import call_of

# Around the widths of vectors (4 to 64 elements), and of torch's pairwise sums.
_EDGES = [7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129]
NARROW = Sizes(
    batch=st.integers(2, 40) | st.sampled_from(_EDGES),
    width=st.integers(1, 12) | st.sampled_from(_EDGES),
    inner=st.sampled_from([(), (1,), (3,), (5, 7)]),
)
# (batch, width, inner) around torch's grain of parallel work, 32768 elements: long batches, long rows, long inner extents.
WIDE = [
    (70_001, 1, ()), (33_000, 3, ()), (4096, 33, ()), (1000, 129, ()), (300, 300, ()), (2, 33_000, ()), (5, 16_385, ()), (2, 70_001, ()),
    (3, 33, (129, 7)), (9, 3, (5000,)), (2, 1, (70_001,)), (32_767, 2, ()), (32_769, 4, ()), (3, 5, (65, 65)),
]  # fmt: skip


each_merging_loss = pytest.mark.parametrize(
    "loss",
    [loss for loss in SAMPLES.values() if LOSSES[loss.rpc].coalescing is not Coalescing.ALONE],
    ids=[name for name, loss in SAMPLES.items() if LOSSES[loss.rpc].coalescing is not Coalescing.ALONE],
)
threads = pytest.mark.parametrize("threads", [1, 2, 3])
DEVICES = [
    "cpu",
    pytest.param("cuda:0", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]),
]


@contextmanager
def intra_op_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def fingerprint(answer: Answer) -> tuple[object, ...]:
    """Every bit of an answer; NaN has bits too."""
    s = answer.statistics
    sums = struct.pack("<3d2q", s.sum, s.mean_numerator, s.mean_denominator, s.element_count, s.ignored_count)
    return sums, answer.values, answer.value is not None and struct.pack("<d", answer.value), answer.shape, answer.double


@st.composite
def neighbours(draw: st.DrawFn, name: str, sizes: Sizes | None) -> list[Call]:
    """Calls that may share a batch: one batch cut at random places, each piece with a reduction of its own. None is WIDE."""
    loss = SAMPLES[name]
    if sizes is None:
        batch, width, inner = draw(st.sampled_from(WIDE))
        sizes = Sizes(st.just(batch), st.just(width), st.just(inner))
    kwargs = draw(loss.cases(sizes))
    batch = loss.batch_of(kwargs)
    assume(batch is not None and batch > 1)
    assert batch is not None
    generator = rng(draw(st.integers(0, 2**32 - 1)))
    kwargs = _varied(loss, kwargs, generator, precision=draw(st.sampled_from([None, None, "float64"])), wild=draw(st.integers(0, 3)) == 0)
    count = draw(st.integers(1, min(batch - 1, 12)))
    cuts = sorted({*generator.integers(1, batch, count).tolist(), *draw(st.sets(st.integers(1, min(batch - 1, 3)), max_size=2))})
    extents = [end - start for start, end in itertools.pairwise([0, *cuts, batch])]
    reductions = generator.choice(loss.reductions, len(extents))
    parts = zip(loss.split(kwargs, extents), reductions, strict=True)
    try:
        calls = [call_of(loss.name, **part, reduction=str(reduction)) for part, reduction in parts]
    except TooManyFields:  # thousands of sequences of one step and one class: more lengths than values
        reject()
    return [call for call in calls if call.values_count]


def _varied(loss: LossSamples, kwargs: Kwargs, generator: np.random.Generator, *, precision: str | None, wild: bool) -> Kwargs:
    """In float64, or with infinities, NaN and huge numbers strewn over the inputs that may hold them."""

    def strew(name: str, tensor: torch.Tensor) -> torch.Tensor:
        if name not in loss.free or not tensor.is_floating_point():
            return tensor
        array = tensor.numpy().copy()
        chosen = generator.random(array.shape) < 0.02
        array[chosen] = generator.choice([np.inf, -np.inf, np.nan, 1e30, -1e30, 1e-40], array.shape).astype(array.dtype)[chosen]
        return torch.from_numpy(array)

    strewn: Kwargs = map_tensors(kwargs, strew) if wild else kwargs
    return strewn | {"precision": precision}


def check_invariance(calls: list[Call], generator: np.random.Generator, threads: int, memory: Memory) -> None:
    """Each call alone on one thread, against all and against some of them in any order on several."""
    assert len({call.key for call in calls}) == 1 or calls[0].spec.coalescing is Coalescing.PADDED
    with intra_op_threads(1):
        alone = {id(call): fingerprint(compute([call], memory)[0]) for call in calls}
    order = generator.permutation(len(calls))
    for chosen in (order, order[: 1 + len(order) // 2]):
        batch = [calls[index] for index in chosen]
        batch = [call for call in batch if call.key == batch[0].key]
        # A single row stays on one thread: see Device.
        with intra_op_threads(threads if sum(call.arrangement.rows for call in batch) > 1 else 1):
            answers = compute(batch, memory)
        for call, answer in zip(batch, answers, strict=True):
            assert fingerprint(answer) == alone[id(call)], f"{len(batch)} calls, {call.arrangement.rows} rows, key {call.key}"


@each_merging_loss
@threads
@pytest.mark.parametrize("examples", [5, pytest.param(100, marks=pytest.mark.slow)])
def test_merged_is_alone(loss: LossSamples, threads: int, examples: int) -> None:
    memory = HostMemory()

    @settings(max_examples=examples)
    @given(neighbours(loss.name, NARROW), st.integers(0, 2**32 - 1))
    def run(calls: list[Call], seed: int) -> None:
        check_invariance(calls, rng(seed), threads, memory)

    run()


@each_merging_loss
@pytest.mark.parametrize("threads", [2])
@pytest.mark.parametrize("examples", [2, pytest.param(30, marks=pytest.mark.slow)])
def test_merged_is_alone_beyond_the_grain_of_parallel_work(loss: LossSamples, threads: int, examples: int) -> None:
    memory = HostMemory()

    @settings(max_examples=examples)
    @given(neighbours(loss.name, None), st.integers(0, 2**32 - 1))
    def run(calls: list[Call], seed: int) -> None:
        if sum(call.cost_seconds for call in calls) < 0.5:  # the losses of quadratic cost have no such rows
            check_invariance(calls, rng(seed), threads, memory)

    run()


@each_merging_loss
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("examples", [2, pytest.param(30, marks=pytest.mark.slow)])
def test_merged_is_alone_in_staged_memory(loss: LossSamples, device: str, examples: int) -> None:
    """The memory of a GPU, with its own sums, on the CPU and also on a GPU if there is one."""
    memory = StagedMemory(torch.device(device))

    @settings(max_examples=examples)
    @given(neighbours(loss.name, NARROW), st.integers(0, 2**32 - 1))
    def run(calls: list[Call], seed: int) -> None:
        check_invariance(calls, rng(seed), 2, memory)

    run()


@pytest.mark.parametrize("loss", SAMPLES.values(), ids=SAMPLES)
def test_a_call_is_answered_the_same_twice(loss: LossSamples) -> None:
    """Also the losses that never share a batch, no matter what ran before them."""
    memory = HostMemory()
    for sample in loss.samples:
        call = call_of(loss.name, **sample.kwargs)
        if call.values_count:
            first = fingerprint(compute([call], memory)[0])
            with intra_op_threads(2):
                compute([call_of(loss.name, **loss.samples[0].kwargs)], memory)
            assert fingerprint(compute([call_of(loss.name, **sample.kwargs)], memory)[0]) == first, sample.label


@pytest.mark.parametrize("callers", [16])
def test_concurrent_callers_get_the_bytes_of_lone_ones(client: lossd.Client, callers: int) -> None:
    """Through gRPC: small calls of every loss while large ones keep the device busy, so that they coalesce."""
    jobs = [(loss, sample.kwargs, reduction) for loss in SAMPLES.values() for sample in loss.samples[:8] for reduction in ("mean", "none")]
    large = {"input": torch.zeros(400_000, 10), "target": torch.zeros(400_000, dtype=torch.int64)}

    def bits(job: tuple[LossSamples, Kwargs, str]) -> tuple[bytes, int]:
        loss, kwargs, reduction = job
        result = getattr(client, loss.name)(**kwargs, reduction=reduction, return_statistics=True)
        sums = struct.pack("<3d2q", result.sum, result.mean_numerator, result.mean_denominator, result.element_count, result.ignored_count)
        return np.asarray(result.value).tobytes() + sums, result.execution.calls_in_batch

    alone = [bits(job)[0] for job in jobs]
    again = [index for index in range(len(jobs)) for _ in range(3)]
    with ThreadPoolExecutor(callers) as pool:
        busy = [pool.submit(client.cross_entropy, **large) for _ in range(3)]
        together = list(pool.map(bits, [jobs[index] for index in again]))
        assert all(future.result() == pytest.approx(np.log(10)) for future in busy)
    wrong = [f"{jobs[i][0].name} {jobs[i][2]}" for i, (found, _) in zip(again, together, strict=True) if found != alone[i]]
    assert not wrong
    assert max(calls for _, calls in together) > 1, "nothing coalesced: the test does not test"


@pytest.mark.parametrize(("dtype", "beta"), [(torch.float32, 1e-45), (torch.float32, 7e-45), (torch.float64, 5e-324)], ids=str)
def test_merged_is_alone_if_half_of_beta_is_not_a_number_of_the_type(dtype: torch.dtype, beta: float) -> None:
    generator = torch.Generator().manual_seed(1)
    x, t = (torch.randn(40, generator=generator, dtype=dtype) * 10 * beta * scale for scale in (3, 1))
    calls = [call_of("smooth_l1_loss", input=x[:length], target=t[:length], beta=beta, reduction="none") for length in (1, 12, 7, 40)]
    check_invariance(calls, rng(1), 1, HostMemory())
    (answer,) = compute(calls[-1:], HostMemory())
    assert answer.values is not None
    values = torch.frombuffer(bytearray(answer.values), dtype=dtype)
    torch.testing.assert_close(values, torch.nn.functional.smooth_l1_loss(x, t, beta=beta, reduction="none"), rtol=0, atol=2 * beta)


def test_a_margin_of_minus_zero_is_zero() -> None:
    """They are equal, so calls with either share a batch, which has one margin."""
    ones = torch.ones(12)
    calls = [
        call_of("margin_ranking_loss", input1=ones, input2=ones, target=ones, margin=margin, reduction="none") for margin in (-0.0, 0.0)
    ]
    check_invariance(calls, rng(1), 1, HostMemory())
    check_invariance(calls[::-1], rng(2), 1, HostMemory())


def test_which_of_two_nans_wins_does_not_depend_on_the_place_in_the_tensor() -> None:
    """A NaN has a sign and a payload, and which of two a product has depends on where in a tensor they stand."""
    nans = torch.tensor([0x7FC00000, -0x400000, 0x7FC01234, -0x3FEDCC], dtype=torch.int32).view(torch.float32)
    kwargs = {"input": nans.repeat(10), "target": torch.ones(40), "weight": nans.repeat_interleave(10)}
    for reduction in ("none", "mean"):
        calls = [
            call_of("mse_loss", **{name: tensor[start : start + 5] for name, tensor in kwargs.items()}, reduction=reduction)
            for start in range(0, 40, 5)
        ]
        check_invariance(calls, rng(1), 1, HostMemory())
