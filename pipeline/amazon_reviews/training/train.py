"""Training from processed reviews to an evaluated model, in an order that needs but a batch of them in memory.

Passes over the training set: one for each length of terms to choose the features, one to count them, to feed the
estimator, and to write the counts down. Then one over the test set, to predict and to write.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.amazon_reviews.training.errors import TrainingDataError
from pipeline.amazon_reviews.training.fit import Learner, learner, require_both_classes
from pipeline.amazon_reviews.training.metrics import Evaluation, evaluate
from pipeline.amazon_reviews.training.model import Model
from pipeline.amazon_reviews.training.tables import Block, Floats, Integers, Processed, write_features
from pipeline.amazon_reviews.training.vocabulary import choose

NOTICEABLE_S = 0.05
TRAIN_FILE, TEST_FILE = "train_features.parquet", "test_features.parquet"


@dataclass(frozen=True)
class Options:
    """How to train."""

    kind: str = "bernoulli-nb"
    max_features: int = 1000
    ngram_max: int = 1
    alpha: float = 1.0


@dataclass(frozen=True)
class Trained:
    """What training gave.

    Attributes:
        model: The model; its facts carry its metrics.
        evaluation: What the test set says of it.
        train_rows: Number of reviews it was trained on.
        test_rows: Number of reviews it was measured with.
        train_features: File of the training set's features; likewise `test_features`, with predictions.
        seconds: How long each part took.
    """

    model: Model
    evaluation: Evaluation
    train_rows: int
    test_rows: int
    train_features: Path
    test_features: Path
    seconds: Mapping[str, float] = field(default_factory=dict)


def train(
    train_set: Processed,
    test_set: Processed,
    options: Options,
    folder: Path,
    *,
    facts: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Trained:
    """Choose features, fit a model, and measure it.

    Args:
        train_set: What to learn from.
        test_set: What to measure with.
        options: How to train.
        folder: Where the features are written.
        facts: Kept in the model's file.
        say: Told what each part has done, and how fast.

    Raises:
        TrainingDataError: A set is empty, has one class only or no terms, or is not of processed reviews.
        InputFileError: A file cannot be read.
        OutputFileError: The features cannot be written.
    """
    seconds: dict[str, float] = {}

    @contextmanager
    def part(name: str, rows: int) -> Iterator[None]:
        began = time.perf_counter()
        yield
        seconds[name] = time.perf_counter() - began
        pace = f" ({rows / seconds[name]:,.0f} rows/s)" if seconds[name] >= NOTICEABLE_S else ""
        say(f"{name}: {rows:,} reviews in {seconds[name]:.1f} s{pace}")

    rows = {}
    for reviews in (train_set, test_set):
        of_class = reviews.class_rows()
        require_both_classes(of_class, reviews.name)
        rows[reviews.name] = int(of_class.sum())
    train_rows, test_rows = rows[train_set.name], rows[test_set.name]

    with part("choosing features", train_rows):
        terms = choose(train_set.batches, max_features=options.max_features, ngram_max=options.ngram_max)
    if not terms:
        raise TrainingDataError(
            f"the {train_set.name} has no terms: nothing is left of the texts of its {train_rows:,} reviews",
            hint="look at the column corpus of that dataset version",
        )
    learning = learner(options.kind, options.alpha)
    train_features = folder / TRAIN_FILE
    with part("counting features", train_rows):
        write_features(train_features, _counted(train_set, terms, learning))
    with part(f"fitting {options.kind}", train_rows):
        model = learning.model(terms, facts or {})
    test_features = folder / TEST_FILE
    with part("predicting the test set", test_rows):
        outcome = _Outcome()
        write_features(test_features, outcome.of(test_set, model))
        evaluation = outcome.evaluation(test_set.name)
    metrics = {name: round(value, 6) for name, value in evaluation.scalars.items()}
    model = replace(model, facts={**model.facts, "train_rows": train_rows, "test_rows": test_rows, "metrics": metrics})
    return Trained(model, evaluation, train_rows, test_rows, train_features, test_features, seconds)


def _counted(reviews: Processed, terms: list[str], learning: Learner) -> Iterator[Block]:
    from pipeline.amazon_reviews.training.vocabulary import Vocabulary

    vocabulary = Vocabulary.of_terms(terms)
    for batch in reviews.batches():
        block = Block(vocabulary.counts(batch.lemmas, len(terms)), batch.classes)
        learning.add(block)
        yield block


class _Outcome:
    """Collects truth and predictions while the test set passes by."""

    def __init__(self) -> None:
        self._truth: list[Integers] = []
        self._predicted: list[Integers] = []
        self._probability: list[Floats] = []
        self._known = 0

    def of(self, reviews: Processed, model: Model) -> Iterator[Block]:
        """Yield the features of reviews, with probabilities."""
        for batch in reviews.batches():
            counts = model.vocabulary.counts(batch.lemmas, len(model.terms))
            predicted, probability = model.predict(counts)
            self._truth.append(batch.classes)
            self._predicted.append(predicted)
            self._probability.append(probability)
            self._known += int(counts.nnz)
            yield Block(counts, batch.classes, probability)

    def evaluation(self, name: str) -> Evaluation:
        """Compare them."""
        if not self._known:
            raise TrainingDataError(
                f"not one word of the {name} was seen in training: nothing can be measured with it",
                hint="name train and test version of the same dataset, from the same run",
            )
        return evaluate(np.concatenate(self._truth), np.concatenate(self._predicted), np.concatenate(self._probability))
