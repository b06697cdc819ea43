# SPDX-License-Identifier: Apache-2.0
"""The committed stubs are what the pinned generator makes of proto/, and proto/raw differs from proto/ in what it says only."""

import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from lossd.v1 import classification_pb2, tensor_pb2

ROOT = Path(__file__).resolve().parents[2]
STUBS = ROOT / "client" / "python" / "lossd" / "v1"
PACKED = {"Float32Values": "<f4", "Float64Values": "<f8", "Int32Values": "<i4", "Int64Values": "<i8", "BoolValues": "?"}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the generator."""
    folder = tmp_path_factory.mktemp("generator")
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", ROOT / "proto" / "requirements.txt"], check=True, timeout=600)
    return python


def test_the_stubs_are_fresh(python: Path, tmp_path: Path) -> None:
    """After a change to proto/: run proto/generate.py in an environment with proto/requirements.txt."""
    (tmp_path / "lossd" / "v1").mkdir(parents=True)
    subprocess.run([python, ROOT / "proto" / "generate.py", tmp_path], check=True, timeout=120)

    fresh = {path.name: path.read_text() for path in (tmp_path / "lossd" / "v1").iterdir()}
    committed = {path.name: path.read_text() for path in STUBS.iterdir() if path.is_file()}
    assert sorted(committed) == sorted(fresh)
    stale = [name for name in fresh if committed[name] != fresh[name]]
    assert not stale, f"stale: {', '.join(sorted(stale))}; run proto/generate.py with proto/requirements.txt installed"


def compiled(python: Path, out: Path, *folders: Path) -> descriptor_pb2.FileDescriptorSet:
    command = [python, "-m", "grpc_tools.protoc", *(f"-I{folder}" for folder in folders), f"--descriptor_set_out={out}"]
    files = sorted(path.relative_to(ROOT / "proto").as_posix() for path in (ROOT / "proto" / "lossd").rglob("*.proto"))
    subprocess.run([*command, *files], check=True, timeout=120)
    return descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())


@pytest.fixture(scope="module")
def raw(python: Path, tmp_path_factory: pytest.TempPathFactory) -> descriptor_pb2.FileDescriptorSet:
    """The schema as a client reads it that has proto/raw before proto on its include path."""
    return compiled(python, tmp_path_factory.mktemp("raw") / "descriptors", ROOT / "proto" / "raw", ROOT / "proto")


def test_raw_differs_from_the_schema_in_its_lists_of_numbers_only(
    python: Path, raw: descriptor_pb2.FileDescriptorSet, tmp_path: Path
) -> None:
    expected = compiled(python, tmp_path / "descriptors", ROOT / "proto")
    field_type = descriptor_pb2.FieldDescriptorProto
    for file in expected.file:
        for message in file.message_type:
            for field in message.field:
                if file.name == "lossd/v1/tensor.proto" and message.name in PACKED:
                    field.type, field.label = field_type.TYPE_BYTES, field_type.LABEL_OPTIONAL
    assert raw != compiled(python, tmp_path / "descriptors", ROOT / "proto")
    for raw_file, expected_file in zip(raw.file, expected.file, strict=True):
        assert raw_file == expected_file


@pytest.fixture(scope="module")
def raw_pool(raw: descriptor_pb2.FileDescriptorSet) -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    for file in raw.file:
        pool.Add(file)
    return pool


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("count", [0, 1, 1000])
def test_both_write_and_read_the_same_bytes(raw_pool: descriptor_pool.DescriptorPool, name: str, count: int) -> None:
    raw_class: Any = message_factory.GetMessageClass(raw_pool.FindMessageTypeByName(f"lossd.v1.{name}"))
    public_class = getattr(tensor_pb2, name)
    array = (np.arange(count) % 256 - 100).astype(PACKED[name])
    public = public_class(values=array.tolist()).SerializeToString()
    assert raw_class(values=array.tobytes()).SerializeToString() == public
    assert raw_class.FromString(public).values == array.tobytes()
    assert list(public_class.FromString(raw_class(values=array.tobytes()).SerializeToString()).values) == array.tolist()


def test_a_whole_request_is_the_same_through_both(raw_pool: descriptor_pool.DescriptorPool) -> None:
    public = classification_pb2.CrossEntropyLossRequest(
        input=tensor_pb2.Tensor(shape=[2, 3], float32_values=tensor_pb2.Float32Values(values=[2.0, 0.5, -1.0, 0.1, 0.2, 3.0])),
        class_indices=tensor_pb2.Tensor(shape=[2], int64_values=tensor_pb2.Int64Values(values=[0, 2])),
        label_smoothing=0.1,
    )
    raw_class: Any = message_factory.GetMessageClass(raw_pool.FindMessageTypeByName("lossd.v1.CrossEntropyLossRequest"))
    encoded = public.SerializeToString(deterministic=True)
    through = raw_class.FromString(encoded)
    assert through.input.float32_values.values == np.array([2.0, 0.5, -1.0, 0.1, 0.2, 3.0], "<f4").tobytes()
    assert through.SerializeToString(deterministic=True) == encoded
    assert type(public).FromString(through.SerializeToString()) == public
