# SPDX-License-Identifier: Apache-2.0
"""Coverage-guided fuzzing of what reads bytes from strangers, by atheris. `python tests/fuzz/run.py TARGET --seconds N`.

A target is a module with `check(data)`, which raises when an invariant does not hold, and `seeds()`,
which makes the corpus. Without atheris the corpus is still checked, by test_corpus.py.
"""
