# SPDX-License-Identifier: Apache-2.0
"""Would LinearCrossEntropyLoss gain from sharing batches? Many small requests with equal parameters: alone, or merged.

Merged requests must answer with the same bits in any company, so their rows go through the matrix product in tiles of a fixed
number of rows, the last one padded; a request alone is padded to a tile too. To be merged they must also be known to have
equal parameters: each pays for a digest of them.

    python tests/bench/vocabulary_tile.py

2 cores of an AMD EPYC shared with other work, torch 2.13.0 on one thread, 64 requests of 4 rows, F = 64, C = 1000:

                           us a request   with digest   rows whose bits change
    alone                          21.4          21.4   0
    merged, tile of 4              18.6         291.4   0
    merged, tile of 8              46.0         318.7   0
    merged, tile of 16             46.0         318.8   0
    merged, tile of 32             13.0         285.8   0
    merged, tile of 64             11.7         284.5   0
    merged, tile of 128            10.5         283.3   0
    merged, no tile                 9.7         282.5   0

The digest alone costs ten times the computation, so these losses compute alone. Tiles would pay for parameters that the server
already holds. Without a tile the bits change: with --rows 1, in most rows.
"""

import argparse
import hashlib
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F

REQUESTS = 64


def microseconds(function: Callable[[], object]) -> float:
    """The best of several runs, for each request."""
    function()
    times = []
    for _ in range(15):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times) * 1e6 / REQUESTS


def tiled(x: torch.Tensor, target: torch.Tensor, weight: torch.Tensor, tile: int) -> torch.Tensor:
    """The losses of the rows, `tile` rows to a matrix product."""
    padded = F.pad(x, (0, 0, 0, -len(x) % tile))
    scores = torch.cat([F.linear(part, weight) for part in padded.split(tile)])[: len(x)]
    return F.cross_entropy(scores, target, reduction="none")


def changed_rows(x: torch.Tensor, target: torch.Tensor, weight: torch.Tensor, rows: int, tile: int | None) -> int:
    """How many rows of the merged answer differ from the request's alone, at a few different offsets in the batch."""
    changed = 0
    for offset in range(4):
        merged = tiled(x[offset:], target[offset:], weight, tile or len(x))
        for start in range(0, len(merged) - rows + 1, rows):
            piece = slice(offset + start, offset + start + rows)
            alone = tiled(x[piece], target[piece], weight, tile or rows)
            changed += int((alone != merged[start : start + rows]).sum())
    return changed


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--features", type=int, default=64)
    parser.add_argument("--classes", type=int, default=1000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows, count = arguments.rows, REQUESTS * arguments.rows
    x = torch.randn(count, arguments.features)
    weight = torch.randn(arguments.classes, arguments.features)
    target = torch.randint(0, arguments.classes, (count,))
    payload = weight.numpy().tobytes()

    def one_by_one() -> None:
        for start in range(0, count, rows):
            F.cross_entropy(F.linear(x[start : start + rows], weight), target[start : start + rows], reduction="none")

    with torch.inference_mode():
        digest = microseconds(lambda: [hashlib.blake2b(payload, digest_size=32).digest() for _ in range(REQUESTS)])
        alone = microseconds(one_by_one)
        print(f"{'':22s} us a request   with digest   rows whose bits change")
        print(f"{'alone':22s} {alone:12.1f}  {alone:12.1f}   0")
        for tile in (4, 8, 16, 32, 64, 128, None):
            merged = microseconds(lambda tile=tile: tiled(x, target, weight, tile or count))  # type: ignore[misc]
            name = "merged, no tile" if tile is None else f"merged, tile of {tile}"
            print(f"{name:22s} {merged:12.1f}  {merged + digest:12.1f}   {changed_rows(x, target, weight, rows, tile)}")


if __name__ == "__main__":
    main()
