#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes client/python/lossd/demo_data: real predictions for `lossd demo`. Needs torch and scikit-learn; lossd itself does
not need scikit-learn.

Three of scikit-learn's own data sets, each split once with a fixed seed; only predictions for the test half and its targets
are kept, never features. Run it again only to change the data: the numbers depend on the version of scikit-learn.
"""

import json
import pathlib
from typing import NamedTuple

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.linear_model import BayesianRidge, LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lossd._demo import CASES, Case, arrays

OUT = pathlib.Path(__file__).resolve().parents[2] / "client" / "python" / "lossd" / "demo_data"


def main() -> None:
    digits = _split(load_digits(return_X_y=True))
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(digits.train, digits.train_targets)
    _save("digits_logits", classifier.decision_function(digits.test), np.float32)
    _save("digits_log_probabilities", classifier.predict_log_proba(digits.test), np.float32)
    _save("digits_labels", digits.test_targets, np.int64)

    tumours = _split(load_breast_cancer(return_X_y=True))
    detector = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(tumours.train, tumours.train_targets)
    _save("tumour_logits", detector.decision_function(tumours.test), np.float32)
    _save("tumour_probabilities", detector.predict_proba(tumours.test)[:, 1], np.float32)
    _save("tumour_labels", tumours.test_targets, np.float32)

    diabetes = _split(load_diabetes(return_X_y=True))
    regressor = make_pipeline(StandardScaler(), BayesianRidge()).fit(diabetes.train, diabetes.train_targets)
    _save("diabetes_predictions", regressor.predict(diabetes.test), np.float32)
    _save("diabetes_targets", diabetes.test_targets, np.float32)

    # What the losses are, in float64, for where torch is not installed.
    expected = {case.label: _reference(case) for case in CASES}
    (OUT / "expected.json").write_text(json.dumps(expected, indent=2) + "\n")


class _Split(NamedTuple):
    train: np.ndarray
    test: np.ndarray
    train_targets: np.ndarray
    test_targets: np.ndarray


def _split(data: tuple[np.ndarray, np.ndarray]) -> _Split:
    return _Split(*train_test_split(*data, test_size=0.5, random_state=0))


def _reference(case: Case) -> float:
    predictions, targets = (torch.from_numpy(array) for array in arrays(case))
    targets = targets.double() if targets.is_floating_point() else targets
    loss = getattr(torch.nn.functional, case.loss)
    return loss(predictions.double(), targets, **case.arguments).item()


def _save(name: str, array: np.ndarray, dtype: type[np.generic]) -> None:
    np.save(OUT / f"{name}.npy", np.ascontiguousarray(array, dtype))


if __name__ == "__main__":
    main()
