# SPDX-License-Identifier: Apache-2.0
"""Copies a batch's bytes to the device, and its sums back.

HostMemory is for the CPU: tensors are views of the request's own bytes if a batch has one request, otherwise of the joined bytes.
StagedMemory is for a GPU: the payloads are gathered in one pinned buffer, reused across batches; one copy takes them to the
device, the segments are summed there, and one copy brings the sums back. It also runs on the CPU, where it is tested.
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from lossd_server.compute.reduce import segment_sums
from lossd_server.losses.tensor import BFLOAT16, INT64, DType

# Tensors are read-only views of the requests' bytes; no kernel writes to its inputs. torch warns about such tensors once per process.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch.from_numpy(np.frombuffer(b"\0", np.uint8))

_TORCH = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
    "int32": torch.int32,
    "int64": torch.int64,
    "uint8": torch.uint8,
    "bool": torch.bool,
}

_NUMPY: dict[torch.dtype, np.dtype[Any]] = {torch.float32: np.dtype(np.float32), torch.float64: np.dtype(np.float64)}

_ALIGNMENT = 256  # bytes; of every tensor in a staged buffer
_MAX_CHUNK = 256  # elements that the device sums to one partial sum


class Parts(NamedTuple):
    """A column before concatenation: payloads that follow each other along the first extent."""

    dtype: DType
    shape: tuple[int, ...]
    payloads: "Sequence[bytes | memoryview]"


class Sums(NamedTuple):
    """The float64 sums of the segments of each quantity, and the first quantity's elements if they were requested."""

    sums: list[list[float]]
    values: NDArray[Any] | None


class Memory(Protocol):
    """A device's memory as a batch uses it: `load`, compute, `reduce`, in this order."""

    device: torch.device

    def load(self, columns: Mapping[str, Parts], counts: Sequence[int]) -> dict[str, torch.Tensor]:
        """The columns as tensors on the device, of their own element types, valid until the next `load`.

        `counts` are the sizes of the segments that `reduce` will sum, none of them 0.
        """

    def reduce(self, quantities: Sequence[torch.Tensor], *, keep_values: bool) -> Sums:
        """Sums each segment of each flat quantity by itself."""


class HostMemory:
    """The CPU's memory, for one thread."""

    device = torch.device("cpu")

    def load(self, columns: Mapping[str, Parts], counts: Sequence[int]) -> dict[str, torch.Tensor]:
        """See Memory."""
        self._counts = counts
        tensors = {}
        for name, (dtype, shape, payloads) in columns.items():
            payload = payloads[0] if len(payloads) == 1 else b"".join(payloads)
            # Through numpy, which takes half the time of torch.frombuffer and view.
            tensor = torch.from_numpy(np.frombuffer(payload, dtype.numpy).reshape(shape))
            tensors[name] = tensor.view(torch.bfloat16) if dtype is BFLOAT16 else tensor
        return tensors

    def reduce(self, quantities: Sequence[torch.Tensor], *, keep_values: bool) -> Sums:
        """See Memory."""
        sums = [segment_sums(quantity.numpy(), self._counts) for quantity in quantities]
        return Sums(sums, quantities[0].numpy() if keep_values else None)


class StagedMemory:
    """A GPU's memory, for one thread."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._staging = torch.empty(0, dtype=torch.uint8)

    def load(self, columns: Mapping[str, Parts], counts: Sequence[int]) -> dict[str, torch.Tensor]:
        """See Memory. One copy to the device for any number of columns and requests."""
        self._chunk = min(_MAX_CHUNK, 1 << (max(counts) - 1).bit_length())
        self._chunks = [-(-count // self._chunk) for count in counts]
        sizes = np.array([counts, [n * self._chunk for n in self._chunks]])
        parts = {**columns, "": Parts(INT64, (2, len(counts)), [sizes.tobytes()])}

        spans, end = {}, 0
        for name, part in parts.items():
            nbytes = sum([len(payload) for payload in part.payloads])
            spans[name] = slice(end, end + nbytes)
            end += -(-nbytes // _ALIGNMENT) * _ALIGNMENT
        if self._staging.numel() < end:
            self._staging = torch.empty(1 << (end - 1).bit_length(), dtype=torch.uint8, pin_memory=self.device.type == "cuda")
        view = self._staging.numpy().data
        for name, part in parts.items():
            position = spans[name].start
            for payload in part.payloads:
                view[position : position + len(payload)] = payload
                position += len(payload)
        # The buffer may be written again once `reduce` has waited for the device.
        staged = self._staging[:end].to(self.device, non_blocking=True, copy=True)
        tensors = {name: staged[spans[name]].view(_TORCH[part.dtype.name]).view(part.shape) for name, part in parts.items()}
        self._sizes = tensors.pop("")
        return tensors

    def reduce(self, quantities: Sequence[torch.Tensor], *, keep_values: bool) -> Sums:
        """See Memory. Waits for the device once, for a single copy back."""
        packed = [_chunk_sums(quantity, self._sizes, sum(self._chunks), self._chunk).view(torch.uint8) for quantity in quantities]
        if keep_values:
            packed.append(quantities[0].contiguous().view(torch.uint8))
        back = torch.cat(packed).cpu().numpy()
        size = sum(self._chunks) * 8
        sums = [segment_sums(back[index * size : (index + 1) * size].view(np.float64), self._chunks) for index in range(len(quantities))]
        return Sums(sums, back[len(quantities) * size :].view(_NUMPY[quantities[0].dtype]) if keep_values else None)


def memory_of(device: torch.device) -> Memory:
    """The memory for one thread that computes on this device."""
    return HostMemory() if device.type == "cpu" else StagedMemory(device)


def _chunk_sums(quantity: torch.Tensor, sizes: torch.Tensor, chunks: int, chunk: int) -> torch.Tensor:
    """Float64 sums of each segment's chunks of `chunk` elements, a power of two. `sizes`: the segments', plain and padded.

    Segments are padded with -0.0 to whole chunks and halved by additions, element i to element i + width/2. The additions are the
    same whatever the other segments are, and, because x + -0.0 is x (x + 0.0 is not, for -0.0), for every `chunk` that holds the
    segment or is _MAX_CHUNK. torch.sum would choose its order by the number of rows.
    """
    count = quantity.numel()
    padded = torch.full((chunks * chunk,), -0.0, dtype=torch.float64, device=quantity.device)
    if sizes.shape[1] == 1:
        padded[:count] = quantity
    else:
        shifts = torch.cumsum(sizes[1] - sizes[0], 0).roll(1)
        shifts[0] = 0
        target = torch.arange(count, device=quantity.device) + torch.repeat_interleave(shifts, sizes[0], output_size=count)
        padded[target] = quantity.to(torch.float64)
    tree = padded.view(-1, chunk)
    while tree.shape[1] > 1:
        half = tree.shape[1] // 2
        tree = tree[:, :half] + tree[:, half:]
    return tree.reshape(-1)
