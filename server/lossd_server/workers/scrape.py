# SPDX-License-Identifier: Apache-2.0
"""Merges the metrics of several processes. Works on the output of a registry, whatever its collectors are.

Samples of one name and the same labels become one:

- counters, histograms, summaries and gauges: the sum. Any other gauge that must not be added needs a label that distinguishes the
  processes.
- start times (`_created`, `_start_time_seconds`): the earliest.
- states (`_info`, infos, state sets): the largest, which is 1 if any process has 1.

A page is a list of families as plain values, to be sent as JSON.
"""

import operator
from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client import CollectorRegistry, Metric

Family = tuple[str, str, str, list[tuple[str, dict[str, str], float]]]  # name, help text, type, samples (name, labels, value)
Page = list[Family]

# Types whose samples still count when their process is gone.
_CUMULATIVE = ("counter", "histogram", "summary")


def page(registry: CollectorRegistry) -> Page:
    """The current contents of the registry."""
    return [
        (family.name, family.documentation, family.type, [(sample.name, sample.labels, sample.value) for sample in family.samples])
        for family in registry.collect()
    ]


def merge(pages: Iterable[Page]) -> Page:
    """Merges pages to one. Families, and samples within them, keep the order of their first occurrence."""
    families: dict[str, tuple[str, str, dict[Any, tuple[dict[str, str], float]]]] = {}
    for one in pages:
        for name, documentation, kind, samples in one:
            merged = families.setdefault(name, (documentation, kind, {}))[2]
            for sample, labels, value in samples:
                key = (sample, *sorted(labels.items()))
                if key in merged:
                    value = _rule(kind, sample)(merged[key][1], value)
                merged[key] = (labels, value)
    return [
        (name, documentation, kind, [(key[0], labels, value) for key, (labels, value) in samples.items()])
        for name, (documentation, kind, samples) in families.items()
    ]


def totals(one: Page) -> Page:
    """The families that still count when the page's process is gone: without them, counters would decrease."""
    return [family for family in one if family[2] in _CUMULATIVE]


def metrics(one: Page) -> Iterable[Metric]:
    """The page as a collector returns it."""
    for name, documentation, kind, samples in one:
        family = Metric(name, documentation, kind)
        for sample, labels, value in samples:
            family.add_sample(sample, labels, value)
        yield family


def _rule(kind: str, sample: str) -> Callable[[float, float], float]:
    if sample.endswith(("_created", "_start_time_seconds")):
        return min
    if kind in ("info", "stateset") or sample.endswith("_info"):
        return max
    return operator.add
