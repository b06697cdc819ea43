# SPDX-License-Identifier: Apache-2.0
"""Arrays in files, read a piece at a time: .npy, members of .npz, and columns of Parquet files.

A file is named PATH, PATH:MEMBER or PATH:COLUMN,COLUMN,... Columns side by side make a matrix, and so does a column of lists
of one length. Reading from front to back is cheap; only the piece that was read last stays in memory.
"""

import math
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from lossd._tensors import Values, on_the_wire

_PARQUET_ROWS: Final = 1 << 16


class FileError(Exception):
    """A file cannot be read as an array; the message says why."""


class Rows(Protocol):
    """The rows of an array in a file."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """The rows [start, stop)."""


def open_rows(name: str, files: ExitStack) -> Rows:
    """The rows of a file, which `files` closes. Raises FileError."""
    path, member = _split_name(name)
    try:
        if path.suffix == ".npy":
            return _NpyRows(files.enter_context(path.open("rb")), name)
        if path.suffix == ".npz":
            return _open_npz(path, member, files)
        if path.suffix in (".parquet", ".pq"):
            return _ParquetRows(path, member, files)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise FileError(f"{name}: {getattr(error, 'strerror', None) or error}") from None
    raise FileError(f"{name}: it must be a .npy, .npz or .parquet file")


class Window:
    """Rows [start, stop) of a file, instead of an array of Values. A window is read when it is encoded, and cut without reading."""

    def __init__(self, rows: Rows, dtype: np.dtype[Any], start: int, stop: int) -> None:
        self._rows, self.dtype, self._start, self._stop = rows, dtype, start, stop
        self.shape = (stop - start, *rows.shape[1:])
        self.ndim = len(self.shape)
        self.size = math.prod(self.shape)
        self.nbytes = self.size * dtype.itemsize

    def __getitem__(self, index: Any) -> "Window":
        along, *others = index if isinstance(index, tuple) else (index,)
        if others:
            raise IndexError("a window can be cut along its first extent only")
        start, stop, _ = along.indices(self.shape[0])
        return Window(self._rows, self.dtype, self._start + start, self._start + stop)

    def load(self) -> NDArray[Any]:
        """The array."""
        return self._rows.read(self._start, self._stop).astype(self.dtype, copy=False)

    def tobytes(self) -> bytes:
        """The elements, as an array's tobytes."""
        return self.load().tobytes()


def values_of(rows: Rows, name: str, *, whole: bool = False) -> Values:
    """The argument `name`, to be read a piece at a time. If `whole`, or with at most one row, it is read at once. Raises TypeError."""
    member, dtype = on_the_wire(rows.dtype, name)
    if whole or len(rows.shape) == 0 or rows.shape[0] <= 1:
        return Values(member, load(rows).astype(dtype, copy=False))
    window: Any = Window(rows, dtype, 0, rows.shape[0])
    return Values(member, window)


def load(rows: Rows) -> NDArray[Any]:
    """The whole array."""
    return rows.read(0, rows.shape[0] if rows.shape else 1)


# Implementation details follow.


def _split_name(name: str) -> tuple[Path, str]:
    path, colon, member = name.rpartition(":")
    if colon and Path(path).suffix in (".npz", ".parquet", ".pq"):
        return Path(path), member
    return Path(name), ""


def _open_npz(path: Path, member: str, files: ExitStack) -> Rows:
    archive = files.enter_context(zipfile.ZipFile(path))
    names = [name.removesuffix(".npy") for name in archive.namelist()]
    if not member and len(names) == 1:
        member = names[0]
    if member not in names:
        raise ValueError(f"name one of its arrays, as {path.name}:{names[0] if names else 'NAME'}; it has {', '.join(names) or 'none'}")
    return _NpyRows(files.enter_context(archive.open(f"{member}.npy")), f"{path}:{member}")


class _NpyRows:
    def __init__(self, file: IO[bytes], name: str) -> None:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        self.shape, fortran, self.dtype = read_header(file)
        if self.dtype.hasobject:
            raise ValueError("it holds Python objects")
        if fortran and len(self.shape) > 1:
            raise ValueError("it is in Fortran order; save numpy.ascontiguousarray of it")
        self._file, self._name, self._data = file, name, file.tell()
        self._row_bytes = self.dtype.itemsize * math.prod(self.shape[1:])

    def read(self, start: int, stop: int) -> NDArray[Any]:
        self._file.seek(self._data + start * self._row_bytes)
        payload = self._file.read((stop - start) * self._row_bytes)
        if len(payload) != (stop - start) * self._row_bytes:
            raise FileError(f"{self._name}: it ends before its last row")
        return np.frombuffer(payload, self.dtype).reshape((stop - start, *self.shape[1:]) if self.shape else ())


class _ParquetRows:
    def __init__(self, path: Path, columns: str, files: ExitStack) -> None:
        try:
            import pyarrow.parquet as parquet
        except ModuleNotFoundError:
            raise ValueError("Parquet needs pyarrow: pip install 'lossd[parquet]'") from None
        self._name = str(path)
        self._file = files.enter_context(parquet.ParquetFile(path))
        known = self._file.schema_arrow.names
        self._columns = columns.split(",") if columns else known
        unknown = [column for column in self._columns if column not in known]
        if unknown or (not columns and len(known) != 1):
            raise ValueError(f"name its columns, as {path.name}:{known[0] if known else 'NAME'}; it has {', '.join(known) or 'none'}")
        self._first = 0
        self._restart()
        count = self._file.metadata.num_rows
        self._held = next(self._batches) if count else np.empty(0, np.float32)
        self.shape, self.dtype = (count, *self._held.shape[1:]), self._held.dtype

    def read(self, start: int, stop: int) -> NDArray[Any]:
        if start < self._first:
            self._restart()
        pieces = [self._held[:0]]
        while stop > start:
            end = self._first + len(self._held)
            if start < end:
                piece = self._held[start - self._first : min(stop, end) - self._first]
                pieces.append(piece)
                start += len(piece)
            else:
                self._first, self._held = end, next(self._batches)
        return np.concatenate(pieces)

    def _restart(self) -> None:
        self._batches = self._read()
        self._first, self._held = 0, np.empty((0, *getattr(self, "shape", (0,))[1:]), getattr(self, "dtype", np.float32))

    def _read(self) -> Iterator[NDArray[Any]]:
        for batch in self._file.iter_batches(_PARQUET_ROWS, columns=self._columns):
            columns = [self._array(name, batch.column(name)) for name in self._columns]
            yield columns[0] if len(columns) == 1 else np.stack(columns, axis=1)

    def _array(self, name: str, column: Any) -> NDArray[Any]:
        if column.null_count:
            raise FileError(f"{self._name}:{name} has nulls")
        values = getattr(column, "flatten", None)
        if values is None or not str(column.type).startswith(("list", "large_list", "fixed_size_list")):
            array: NDArray[Any] = column.to_numpy(zero_copy_only=False)
            return array
        lengths = set(column.value_lengths().to_pylist())
        if len(lengths) != 1:
            raise FileError(f"{self._name}:{name} has lists of different lengths")
        inner: NDArray[Any] = values().to_numpy(zero_copy_only=False)
        return inner.reshape(len(column), lengths.pop())
