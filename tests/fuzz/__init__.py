# SPDX-License-Identifier: Apache-2.0
"""Coverage-guided fuzzing of what reads bytes from strangers, by atheris. `python tests/fuzz/run.py http2|reader --seconds N`.

A target is a module with `check(data)`, which raises when an invariant does not hold, `seeds()`, which makes the corpus, and
INSTRUMENTED, the packages whose branches guide the fuzzer. Without atheris the corpus is still checked, by test_corpus.py.
"""
