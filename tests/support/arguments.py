# SPDX-License-Identifier: Apache-2.0
"""The names of methods' arguments for those of the fields of request messages."""

from lossd._explain import in_arguments
from lossd_server.losses import LOSSES


def argument(loss: str, field: str) -> str:
    """The path of the argument of a method in which a path in its request message is given."""
    return in_arguments(next(spec.rpc for spec in LOSSES.values() if spec.name == loss), field)
