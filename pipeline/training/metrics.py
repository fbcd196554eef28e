"""How good predictions are: the numbers and curves of two classes, of which the last one counts as positive."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.frames import CLASSES
from pipeline.training.tables import Floats, Integers

CURVE_POINTS = 400
_TINY = 2.0**-52


@dataclass(frozen=True)
class Evaluation:
    """What a test set says of a model.

    Attributes:
        scalars: `accuracy`, `f1`, `auc` and so on, by name.
        report: Name of a class or of an average → its precision, recall, F1 and number of reviews.
        confusion: Reviews by true class (row) and predicted class (column).
        curve: The ROC curve: false positive rate and true positive rate, at most some hundred points.
    """

    scalars: dict[str, float]
    report: dict[str, dict[str, float]]
    confusion: Integers
    curve: tuple[Floats, Floats]

    def report_table(self) -> list[list[str]]:
        """Return the classification report as rows of text, the header first."""
        rows = [["class", "precision", "recall", "f1", "reviews"]]
        for name, row in self.report.items():
            shares = [f"{row[key]:.4f}" for key in ("precision", "recall", "f1")]
            rows.append([name, *shares, f"{int(row['reviews']):,}"])
        return rows


def evaluate(truth: Integers, predicted: Integers, probability: Floats) -> Evaluation:
    """Compare predictions with the truth.

    Args:
        truth: Each review's class, as its place among the classes; both occur.
        predicted: The class that the model says.
        probability: The probability of the last class that the model says.
    """
    size = len(CLASSES)
    confusion = np.bincount(truth * size + predicted, minlength=size**2).reshape(size, size)
    report = _report(confusion)
    positive = report[list(CLASSES.values())[-1]]
    false_rate, true_rate = _curve(truth, probability)
    shown = np.unique(np.linspace(0, len(false_rate) - 1, min(CURVE_POINTS, len(false_rate))).round().astype(int))
    bounded = np.clip(np.where(truth == size - 1, probability, 1 - probability), _TINY, None)
    return Evaluation(
        scalars={
            "accuracy": float(np.trace(confusion) / confusion.sum()),
            "f1": positive["f1"],
            "auc": float(np.trapezoid(true_rate, false_rate)),
            "precision": positive["precision"],
            "recall": positive["recall"],
            "log loss": float(-np.log(bounded).mean()),
        },
        report=report,
        confusion=confusion,
        curve=(false_rate[shown], true_rate[shown]),
    )


def _report(confusion: Integers) -> dict[str, dict[str, float]]:
    right, said, there = np.diag(confusion), confusion.sum(axis=0), confusion.sum(axis=1)
    columns = {
        "precision": right / np.maximum(said, 1),
        "recall": right / np.maximum(there, 1),
        "f1": 2 * right / np.maximum(said + there, 1),
    }
    rows = {
        name: {key: float(column[place]) for key, column in columns.items()} | {"reviews": float(there[place])}
        for place, name in enumerate(CLASSES.values())
    }
    total = {"reviews": float(there.sum())}
    for name, weights in (("macro average", None), ("weighted average", there)):
        rows[name] = {key: float(np.average(column, weights=weights)) for key, column in columns.items()} | total
    return rows


def _curve(truth: Integers, probability: Floats) -> tuple[Floats, Floats]:
    """Return the ROC curve: a point for each distinct probability, from (0, 0) to (1, 1)."""
    order = np.argsort(-probability, kind="stable")
    hits = truth[order] == len(CLASSES) - 1
    last = np.append(np.flatnonzero(np.diff(probability[order])), len(order) - 1)  # equal ones count at once
    true, all_of_them = np.cumsum(hits)[last], last + 1
    false = all_of_them - true
    return np.append(0.0, false / max(false[-1], 1)), np.append(0.0, true / max(true[-1], 1))
