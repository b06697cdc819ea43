# SPDX-License-Identifier: Apache-2.0
"""What an answer may be: the right bits, or an error that is clear, names a field of the request and gives nothing away."""

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from lossd import twins
from lossd.v1 import response_pb2

# Bad input never deserves another status.
OF_BAD_INPUT = frozenset({"INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"})
OF_LOAD = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED"})

_FIELDLESS = frozenset({"MESSAGE_MALFORMED"})
_OF_ENVELOPES = frozenset({"request", "id", "timeout_seconds", "series"})
_GIVES_AWAY = re.compile(r"Traceback|File \"|\.py\b|site-packages|(/\w[\w.-]*){2}|0x[0-9a-f]{6}")
_MOST_FINDINGS = 100


@dataclass
class Tally:
    """What happened how often, and what should not have happened."""

    counts: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)

    def count(self, what: str, times: int = 1) -> None:
        self.counts[what] += times

    def find(self, what: str) -> None:
        """Something is wrong."""
        self.counts["findings"] += 1
        if len(self.findings) < _MOST_FINDINGS:
            self.findings.append(what)

    def error(self, where: str, rpc: str, code: str, reason: str, message: str, fields: list[str], *, load: bool = False) -> None:
        """Counts an error, and finds what is wrong with it. `load`: the server may also be too busy, or the deadline too short."""
        self.count(f"error {code}")
        self.count(f"reason {reason or '-'}")
        wrong = ""
        if code not in (OF_BAD_INPUT | OF_LOAD if load else OF_BAD_INPUT):
            wrong = "an impossible status"
        elif _GIVES_AWAY.search(message):
            wrong = "a message that gives something away"
        elif code == "INVALID_ARGUMENT" and reason not in _FIELDLESS and not (fields and all(_is_field(rpc, path) for path in fields)):
            wrong = "no field of the request"
        elif not message or not reason:
            wrong = "no explanation"
        if wrong:
            self.find(f"{where} {rpc}: {wrong}: {code} {reason} {message!r} {fields}")

    def add(self, other: "Tally") -> None:
        self.counts += other.counts
        self.findings += other.findings


def bits(response: Any) -> bytes:
    """A LossResponse without how it was computed."""
    bare = response_pb2.LossResponse.FromString(response if isinstance(response, bytes) else response.SerializeToString())
    bare.ClearField("execution")
    return bare.SerializeToString(deterministic=True)


# Implementation details follow.


def _is_field(rpc: str, path: str) -> bool:
    """Whether the path leads to a field of the request; of a message of many calls, it may begin with "calls[3]."."""
    names = re.sub(r"\[\d+\]", "", path).split(".")
    if names[0] == "calls":
        return len(names) == 1 or names[1] in _OF_ENVELOPES or any(_leads(descriptor, names[1:]) for descriptor in _requests())
    if names[0] in _OF_ENVELOPES:
        return True
    return any(_leads(descriptor, names) for descriptor in _requests(rpc))


def _requests(rpc: str = "") -> list[Any]:
    if rpc not in _REQUESTS:
        return list(_REQUESTS.values())
    return [_REQUESTS[rpc]]


def _leads(descriptor: Any, names: list[str]) -> bool:
    for name in names:
        known = None if descriptor is None else descriptor.fields_by_name.get(name)
        if known is None:
            return False
        descriptor = known.message_type
    return True


_REQUESTS = {
    member.message_type.name.removesuffix("Request"): member.message_type
    for member in twins.public("LossCall").DESCRIPTOR.fields
    if member.message_type
}
