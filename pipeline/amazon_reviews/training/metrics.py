"""How good predictions are: scikit-learn's metrics of two classes, of which the last one counts as positive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn import metrics

from pipeline.amazon_reviews.reviews.frames import CLASSES
from pipeline.amazon_reviews.training.tables import Floats, Integers

CURVE_POINTS = 400


@dataclass(frozen=True)
class Evaluation:
    """What a test set says of a model.

    Attributes:
        scalars: `accuracy`, `f1`, `auc` and so on, by name.
        report: Scikit-learn's classification report: name of a class or of an average → its numbers.
        confusion: Reviews by true class (row) and predicted class (column).
        curve: The ROC curve: false positive rate and true positive rate, at most some hundred points.
    """

    scalars: dict[str, float]
    report: dict[str, dict[str, float]]
    confusion: Integers
    curve: tuple[Floats, Floats]

    def report_table(self) -> list[list[str]]:
        """Return the classification report as rows of text, the header first."""
        rows = [["class", "precision", "recall", "f1-score", "reviews"]]
        for name, row in self.report.items():
            shares = [f"{row[key]:.4f}" for key in rows[0][1:-1]]
            rows.append([name, *shares, f"{int(row['support']):,}"])
        return rows


def evaluate(truth: Integers, predicted: Integers, probability: Floats) -> Evaluation:
    """Compare predictions with the truth.

    Args:
        truth: Each review's class, as its place among the classes; both occur.
        predicted: The class that the model says.
        probability: The probability of the last class that the model says.
    """
    places, names = list(range(len(CLASSES))), list(CLASSES.values())
    report: dict[str, Any] = metrics.classification_report(
        truth, predicted, labels=places, target_names=names, output_dict=True, zero_division=0
    )
    accuracy, positive = report.pop("accuracy"), report[names[-1]]
    false_rate, true_rate, _ = metrics.roc_curve(truth, probability, drop_intermediate=True)
    shown = np.unique(np.linspace(0, len(false_rate) - 1, min(CURVE_POINTS, len(false_rate))).round().astype(int))
    return Evaluation(
        scalars={
            "accuracy": float(accuracy),
            "f1": float(positive["f1-score"]),
            "auc": float(metrics.roc_auc_score(truth, probability)),
            "precision": float(positive["precision"]),
            "recall": float(positive["recall"]),
            "log loss": float(metrics.log_loss(truth, probability, labels=places)),
        },
        report=report,
        confusion=metrics.confusion_matrix(truth, predicted, labels=places),
        curve=(false_rate[shown], true_rate[shown]),
    )
