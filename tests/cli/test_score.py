# SPDX-License-Identifier: Apache-2.0
"""`lossd score`, `evaluate` and `losses`: every loss from files of every format, slices, hardest rows, and plain errors."""

import json
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner, Result

import lossd
from lossd import _dataset
from lossd._cli import lossd as program
from lossd._cli.arguments import DISTANCES
from lossd._files import FileError, load, open_rows
from samples import SAMPLES, LossSamples
from support.fake_server import fake_server

ROWS = 3000


def call(*arguments: Any) -> Result:
    return CliRunner().invoke(program, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Logits, labels and slices, in every format."""
    folder = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(1)
    logits = generator.standard_normal((ROWS, 4)).astype("f4")
    labels = generator.integers(0, 4, ROWS)
    regions = generator.choice(["north", "south", "east"], ROWS)
    np.save(folder / "logits.npy", logits)
    np.save(folder / "labels.npy", labels)
    np.save(folder / "regions.npy", regions)
    np.savez(folder / "stored.npz", logits=logits, labels=labels, regions=regions)
    np.savez_compressed(folder / "packed.npz", logits=logits, labels=labels, regions=regions)
    columns = {f"p{i}": logits[:, i] for i in range(4)}
    lists = pa.FixedSizeListArray.from_arrays(pa.array(logits.reshape(-1)), 4)
    table = pa.table({**columns, "logits": lists, "labels": labels, "regions": regions, "holes": [None, *labels[1:].tolist()]})
    pq.write_table(table, folder / "data.parquet", row_group_size=700)
    return {"folder": folder, "logits": logits, "labels": labels, "regions": regions}


FORMATS = {
    "npy": ("logits.npy", "labels.npy", "regions.npy"),
    "npz": ("stored.npz:logits", "stored.npz:labels", "stored.npz:regions"),
    "compressed npz": ("packed.npz:logits", "packed.npz:labels", "packed.npz:regions"),
    "parquet columns": ("data.parquet:p0,p1,p2,p3", "data.parquet:labels", "data.parquet:regions"),
    "parquet lists": ("data.parquet:logits", "data.parquet:labels", "data.parquet:regions"),
}


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of a few hundred rows."""
    monkeypatch.setattr(_dataset, "PIECE_BYTES", 10_000)


# -- files


@pytest.mark.parametrize("names", FORMATS.values(), ids=FORMATS)
def test_files_of_every_format_hold_the_same_rows(data: dict[str, Any], names: tuple[str, ...]) -> None:
    with ExitStack() as files:
        for name, key in zip(names, ("logits", "labels", "regions"), strict=True):
            rows = open_rows(f"{data['folder']}/{name}", files)
            assert rows.shape == data[key].shape
            np.testing.assert_array_equal(load(rows), data[key])
            for start, stop in ((650, 1500), (0, 1), (2999, 3000), (10, 10), (5, 2900)):
                np.testing.assert_array_equal(rows.read(start, stop), data[key][start:stop])


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("missing.npy", "No such file"),
        ("missing.npz:x", "No such file"),
        ("stored.npz", "it has logits, labels, regions"),
        ("stored.npz:weights", "name one of its arrays"),
        ("data.parquet", "name its columns"),
        ("data.parquet:p9", "name its columns"),
        ("data.parquet:holes", "has nulls"),
        ("notes.txt", "must be a .npy, .npz or .parquet file"),
        ("broken.npy", "magic"),
        ("short.npy", "ends before its last row"),
        ("fortran.npy", "Fortran order"),
        ("objects.npy", "Python objects"),
    ],
)
def test_what_is_no_array_says_why(data: dict[str, Any], name: str, why: str) -> None:
    folder = data["folder"]
    (folder / "broken.npy").write_bytes(b"not an array")
    (folder / "short.npy").write_bytes((folder / "logits.npy").read_bytes()[:-4])
    np.save(folder / "fortran.npy", np.asfortranarray(data["logits"]))
    np.save(folder / "objects.npy", np.array([{}], dtype=object))
    with ExitStack() as files, pytest.raises(FileError, match=re.escape(why)):
        load(open_rows(f"{folder}/{name}", files))


# -- score


def _save(folder: Path, name: str, value: Any) -> list[str]:
    """The option for an argument of a client's method."""
    flag = f"--{name.replace('_', '-')}"
    if name == "distance_function":
        return [flag, next(key for key, distance in DISTANCES.items() if distance == value)]
    if name == "tail":
        return [part for i, pair in enumerate(value) for part in (flag, *(_file(folder, f"tail{i}{j}", t) for j, t in enumerate(pair)))]
    if name == "cutoffs":
        return [flag, ",".join(map(str, value))]
    if value is True or value is False:
        return [flag if value else f"--no-{flag[2:]}"]
    if isinstance(value, int | float):
        return [flag, str(value)]
    return [] if value is None else [flag, _file(folder, name, value)]


def _file(folder: Path, name: str, value: Any) -> str:
    np.save(folder / f"{name}.npy", np.ascontiguousarray(np.asarray(value)))
    return str(folder / f"{name}.npy")


@pytest.mark.parametrize("loss", SAMPLES.values(), ids=SAMPLES)
def test_every_loss_can_be_scored_from_files(
    address: str, client: lossd.Client, loss: LossSamples, tmp_path: Path, small_pieces: None
) -> None:
    kwargs = loss.samples[0].kwargs
    options = [part for name, value in kwargs.items() for part in _save(tmp_path, name, value)]
    done = call("score", loss.name, *options, "--address", address)
    assert done.exit_code == 0, done.output
    assert float(done.output) == getattr(client, loss.name)(**kwargs)
    done = call("score", loss.name, *options, "--address", address, "--reduction", "none", "--output", tmp_path / "out.npy")
    assert done.exit_code == 0, done.output
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), getattr(client, loss.name)(**kwargs, reduction="none"))


def test_score_prints_values_and_json(address: str, tmp_path: Path) -> None:
    options = ["--input", _file(tmp_path, "a", np.float32([1, 2])), "--target", _file(tmp_path, "b", np.float32([0, np.nan]))]
    assert call("score", "mse_loss", *options, "--address", address, "--reduction", "none").output == "1.0\nnan\n"
    document = json.loads(call("score", "mse_loss", *options, "--address", address, "--json").output)
    assert document == {
        "value": "NaN",
        "sum": "NaN",
        "mean_numerator": "NaN",
        "mean_denominator": 2.0,
        "element_count": 2,
        "ignored_count": 0,
    }


@pytest.mark.parametrize("names", FORMATS.values(), ids=FORMATS)
def test_large_files_are_scored_piece_by_piece(
    address: str, client: lossd.Client, data: dict[str, Any], names: tuple[str, ...], small_pieces: None, tmp_path: Path
) -> None:
    options = ["--input", f"{data['folder']}/{names[0]}", "--target", f"{data['folder']}/{names[1]}", "--address", address]
    assert float(call("score", "cross_entropy", *options).output) == pytest.approx(
        client.cross_entropy(data["logits"], data["labels"]), rel=1e-12
    )
    assert call("score", "cross_entropy", *options, "--reduction", "none", "--output", tmp_path / "out.npy").exit_code == 0
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), client.cross_entropy(data["logits"], data["labels"], reduction="none"))


# -- evaluate


def evaluate(address: str, data: dict[str, Any], *more: Any, loss: str = "cross_entropy") -> Result:
    folder = data["folder"]
    return call("evaluate", loss, "--input", folder / "logits.npy", "--target", folder / "labels.npy", "--address", address, *more)


@pytest.mark.parametrize("names", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("hardest", [0, 5])
def test_slices_and_total_are_the_losses_of_their_rows(
    address: str, client: lossd.Client, data: dict[str, Any], names: tuple[str, ...], hardest: int, small_pieces: None
) -> None:
    done = evaluate(address, data, "--by", f"{data['folder']}/{names[2]}", "--json", "--hardest", hardest)
    assert done.exit_code == 0, done.output
    document = json.loads(done.output)
    assert document["element_count"] == ROWS
    assert document["value"] == pytest.approx(client.cross_entropy(data["logits"], data["labels"]), rel=1e-12)
    assert set(document["slices"]) == {"north", "south", "east"}
    for name, result in document["slices"].items():
        rows = data["regions"] == name
        assert result["value"] == pytest.approx(client.cross_entropy(data["logits"][rows], data["labels"][rows]), rel=1e-12)
        assert result["element_count"] == rows.sum()
    if hardest:
        losses = client.cross_entropy(data["logits"], data["labels"], reduction="none")
        expected = np.argsort(-losses, kind="stable")[:hardest]
        assert [(row["index"], row["loss"], row["slice"]) for row in document["hardest"]] == [
            (index, losses[index], data["regions"][index]) for index in expected.tolist()
        ]


def test_evaluate_prints_tables(address: str, data: dict[str, Any]) -> None:
    done = evaluate(address, data, "--by", data["folder"] / "regions.npy", "--hardest", 2)
    assert done.exit_code == 0, done.output
    rows = [line.split() for line in done.output.splitlines() if line.strip()]
    assert [row[0] for row in rows if len(row) == 4 and row[0] != "slice"] == ["(all)", "east", "north", "south"]
    assert ["hardest"] in rows


def test_rows_of_several_elements_count_their_mean_or_sum(address: str, tmp_path: Path) -> None:
    options = [
        "--input",
        _file(tmp_path, "a", np.float32([[1, 1], [3, 0], [np.nan, 0]])),
        "--target",
        _file(tmp_path, "b", np.zeros((3, 2), "f4")),
    ]
    for reduction, factor in (("mean", 0.5), ("sum", 1)):
        done = call("evaluate", "mse_loss", *options, "--address", address, "--hardest", 3, "--json", "--reduction", reduction)
        rows = [(row["index"], row["loss"]) for row in json.loads(done.output)["hardest"]]
        assert rows == [(2, "NaN"), (1, 9 * factor), (0, 2 * factor)]


def test_batchmean_divides_by_rows_with_and_without_the_hardest(
    address: str, client: lossd.Client, tmp_path: Path, small_pieces: None
) -> None:
    x = torch.randn(900, 5, generator=torch.Generator().manual_seed(1)).log_softmax(-1)
    options = ["--input", _file(tmp_path, "a", x), "--target", _file(tmp_path, "b", x.flip(0).exp()), "--reduction", "batchmean"]
    for hardest in (0, 3):
        done = call("evaluate", "kl_div", *options, "--address", address, "--json", "--hardest", hardest)
        assert json.loads(done.output)["value"] == pytest.approx(client.kl_div(x, x.flip(0).exp(), "batchmean"), rel=1e-6)


def test_slices_named_by_numbers_are_listed_by_number(address: str, data: dict[str, Any], tmp_path: Path) -> None:
    done = evaluate(address, data, "--by", _file(tmp_path, "by", np.arange(ROWS) % 12), "--json")
    assert list(json.loads(done.output)["slices"]) == [str(i) for i in range(12)]


# -- errors


def test_a_server_that_is_not_there_is_one_line(data: dict[str, Any]) -> None:
    with fake_server() as gone:
        pass
    done = evaluate(gone.address, data, "--timeout", 0.5)
    assert done.exit_code == 1
    assert re.fullmatch(rf"Error: no lossd server answers at {gone.address}: [^\n]+\n", done.output)


def test_an_error_names_the_field_and_the_rows(address: str, data: dict[str, Any], tmp_path: Path, small_pieces: None) -> None:
    labels = data["labels"].copy()
    labels[2000] = 4
    options = ["--input", data["folder"] / "logits.npy", "--target", _file(tmp_path, "labels", labels), "--address", address]
    done = call("evaluate", "cross_entropy", *options)
    assert done.exit_code == 1
    (start, stop) = map(int, re.search(r"in rows (\d+) to (\d+)\n$", done.output).groups())  # type: ignore[union-attr]
    assert start <= 2000 <= stop < start + 1000
    assert done.output.startswith("Error: target: ")
    assert "the first at index [2000]" in done.output


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["evaluate", "cross_entropy", "--input", "logits.npy", "--target", "missing.npy"], "missing.npy: No such file"),
        (["evaluate", "cross_entropy", "--input", "logits.npy", "--target", "regions.npy"], "target has dtype"),
        (["evaluate", "cross_entropy", "--input", "logits.npy", "--target", "labels.npy", "--by", "logits.npy"], "the slices have shape"),
        (["score", "mse_loss", "--input", "logits.npy", "--target", "logits.npy", "--output", "x.npy"], "--output needs --reduction none"),
        (["score", "mean_loss"], "No such command 'mean_loss'"),
        (["score", "mse_loss", "--input", "logits.npy"], "Missing option '--target'"),
        (["evaluate", "mse_loss", "--reduction", "none"], "'none' is not one of"),
    ],
)
def test_wrong_calls_are_one_clear_line(
    address: str, data: dict[str, Any], monkeypatch: pytest.MonkeyPatch, arguments: list[str], why: str
) -> None:
    monkeypatch.chdir(data["folder"])
    done = call(*arguments, *(["--address", address] if len(arguments) > 3 else []))
    assert done.exit_code in (1, 2)
    assert why in done.output.splitlines()[-1]


def test_losses_lists_all_and_help_has_their_arguments() -> None:
    assert [line.split()[0] for line in call("losses").output.splitlines()] == sorted(SAMPLES)
    text = " ".join(call("score", "triplet_margin_with_distance_loss", "--help").output.split())
    assert "--distance-function [pairwise|cosine|squared_euclidean]" in text
    assert "--anchor FILE (..., D); float. [required]" in text


# -- a data set of ten million rows
