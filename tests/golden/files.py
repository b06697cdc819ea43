# SPDX-License-Identifier: Apache-2.0
"""The recorded files, and what it means that an answer is the recorded one."""

import base64
import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from golden.encoding import Json, to_tensor

HERE: Final = Path(__file__).parent
INDEX: Final = json.loads((HERE / "index.json").read_text())


def read(name: str) -> Json:
    """A recorded file."""
    content: Json = json.loads((HERE / name).read_text())
    return content


FILES: Final = [read(name) for name in INDEX["files"]]
LIMITED: Final = [read(name) for name in INDEX["limited_files"]]
MESSAGES: Final = [read(name) for name in INDEX["message_files"]]

every_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file["loss"])


def request_of(vector: Json) -> bytes:
    """The request message of a vector."""
    return base64.b64decode(vector["request"]) * int(vector.get("times", 1))


def close(found: Any, expected: Any, tolerance: float) -> bool:
    """Whether a number or an array is the recorded one, but for what another CPU may make of it."""
    return bool(np.allclose(np.float64(found), np.float64(expected), rtol=tolerance, atol=tolerance / 10, equal_nan=True))


def assert_recorded(vector: Json, value: Any, statistics: dict[str, Any]) -> None:
    """The value, a float or an array, and the statistics are those of the vector's response."""
    response, name = vector["response"], vector["name"]
    tolerance = response["tolerance"]
    if "value" in response:
        assert close(value, response["value"], tolerance), (name, value, response["value"])
    else:
        recorded = to_tensor(response["values"]).numpy()
        assert (value.dtype, value.shape) == (recorded.dtype, recorded.shape), name
        assert close(value, recorded, tolerance), (name, value, recorded)
    for field, expected in response["statistics"].items():
        found = statistics[field]
        assert found == expected if "count" in field else close(found, expected, tolerance), (name, field, found, expected)
