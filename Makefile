# SPDX-License-Identifier: Apache-2.0
# Everyday commands. They use the environment in .venv, which the second command of README.md makes; PYTHON chooses another.
PYTHON ?= .venv/bin/python

.PHONY: check fix lint types quick test coverage docs serve-docs stubs ci

check: lint types quick  ## what to run before every commit

fix:  ## format, and mend what ruff can mend
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

lint:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

types:
	$(PYTHON) -m mypy

quick:  ## the tests without those marked slow
	$(PYTHON) -m pytest -q -m "not slow"

test:  ## all tests
	$(PYTHON) -m pytest

coverage:  ## the quick tests with coverage; fails below the floor in pyproject.toml
	$(PYTHON) -m pytest -q -m "not slow" --cov --cov-report=term:skip-covered

docs:  ## build the site into site/; a warning is an error
	$(PYTHON) -m mkdocs build --strict

serve-docs:  ## show the site on 127.0.0.1:8000 and follow changes
	$(PYTHON) -m mkdocs serve

stubs:  ## generate the Python stubs; needs proto/requirements.txt in an environment of its own
	$(PYTHON) proto/generate.py

ci:  ## everything, from a fresh copy of the working tree
	.ci/run
