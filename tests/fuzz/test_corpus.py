# SPDX-License-Identifier: Apache-2.0
"""The fuzz targets hold for every input of their corpora, what earlier runs found among them."""

import importlib

import pytest

from fuzz import corpora
from fuzz.run import TARGETS


@pytest.mark.parametrize(("target", "name"), [(target, name) for target in TARGETS for name in corpora.load(target)])
def test_an_input_of_the_corpus(target: str, name: str) -> None:
    importlib.import_module(f"fuzz.{target}").check(corpora.load(target)[name])


@pytest.mark.parametrize("target", TARGETS)
def test_the_corpus_has_a_seed_of_everything(target: str) -> None:
    """Of every loss, say. `python tests/fuzz/run.py TARGET --seeds` adds what is missing."""
    assert importlib.import_module(f"fuzz.{target}").seeds().keys() <= corpora.load(target).keys()
