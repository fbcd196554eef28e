"""A trained model: what it predicts, and the file that it is kept in.

Both kinds of model are one table: a weight for each term and class, and a number for each class to begin with. The
class with the larger sum is the prediction; the sums' difference gives its probability. `bernoulli-nb` adds the weights
of the terms that a text has, `linear` multiplies them by the text's TF-IDF.

The file is plain JSON. A pickle or joblib file runs whatever it contains, and fits one version of scikit-learn only; a
table of numbers needs neither. JSON keeps every number exactly (Python writes the shortest text that reads as the same
number), has the same bytes for the same model, and can be read without this package, in any language.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.amazon_reviews.reviews.frames import CLASSES
from pipeline.amazon_reviews.training.errors import ModelError
from pipeline.amazon_reviews.training.tables import LABELS, Floats, Integers
from pipeline.amazon_reviews.training.vocabulary import Vocabulary
from pipeline.files import replacing

if TYPE_CHECKING:
    from scipy import sparse

BERNOULLI_NB, LINEAR = "bernoulli-nb", "linear"

FORMAT, FORMAT_VERSION = "clearml-pods/text-classifier", 1
FILE_NAME = "model.json"


@dataclass(frozen=True)
class Model:
    """A trained model.

    Attributes:
        kind: `bernoulli-nb` or `linear`.
        terms: Its features, in alphabetical order.
        idf: Inverse document frequency of each term in the training set.
        weights: A row for each term, a column for each class of `LABELS`.
        intercepts: What each class begins with.
        facts: Whatever else is known: parameters, metrics, where it comes from.
    """

    kind: str
    terms: tuple[str, ...]
    idf: Floats
    weights: Floats
    intercepts: Floats
    facts: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Finds the terms in lemmas."""
        return Vocabulary.of_terms(self.terms)

    def scores(self, counts: sparse.csr_matrix) -> Floats:
        """Return each row's sum for each class."""
        features = presence(counts) if self.kind == BERNOULLI_NB else tf_idf(counts, self.idf)
        return np.asarray(features @ self.weights + self.intercepts)

    def predict(self, counts: sparse.csr_matrix) -> tuple[Integers, Floats]:
        """Return each row's class, as its place in `LABELS`, and the probability of the last class."""
        from scipy.special import expit

        scores = self.scores(counts)
        return scores.argmax(axis=1), expit(scores[:, 1] - scores[:, 0])

    def save(self, path: Path) -> None:
        """Write the file: the same bytes for the same model.

        Raises:
            OutputFileError: It cannot be written.
        """
        document = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "kind": self.kind,
            "labels": {str(label): name for label, name in CLASSES.items()},
            "facts": self.facts,
            "terms": self.terms,
            "idf": self.idf.tolist(),
            "weights": {str(label): self.weights[:, place].tolist() for place, label in enumerate(LABELS)},
            "intercepts": {str(label): float(self.intercepts[place]) for place, label in enumerate(LABELS)},
        }
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(document, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Model:
        """Read what `save` wrote.

        Raises:
            ModelError: It is another kind of file, of another version, or damaged.
        """
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ModelError(f"{path} cannot be read as a model: {error}") from error
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise ModelError(f"{path} is not a model of this package: it does not say format {FORMAT!r}")
        if document.get("format_version") != FORMAT_VERSION:
            raise ModelError(
                f"{path} is of format version {document.get('format_version')}, this package reads {FORMAT_VERSION}",
                hint="use the version of clearml-pods that made it, or train again: ./task fit-model",
            )
        try:
            model = cls(
                kind=str(document["kind"]),
                terms=tuple(map(str, document["terms"])),
                idf=np.array(document["idf"], np.float64),
                weights=np.array([document["weights"][str(label)] for label in LABELS], np.float64).T,
                intercepts=np.array([document["intercepts"][str(label)] for label in LABELS], np.float64),
                facts=dict(document["facts"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{path} is damaged: {type(error).__name__} {error}") from error
        model._check(path)
        return model

    def _check(self, path: Path) -> None:
        size = len(self.terms)
        whole = (
            self.kind in (BERNOULLI_NB, LINEAR)
            and self.idf.shape == (size,)
            and self.weights.shape == (size, len(LABELS))
            and size > 0
            and all(np.isfinite(part).all() for part in (self.idf, self.weights, self.intercepts))
        )
        if not whole:
            raise ModelError(f"{path} is damaged: its {size} terms, weights and kind {self.kind!r} do not fit together")


def presence(counts: sparse.csr_matrix) -> sparse.csr_matrix:
    """Return which terms each row has."""
    return type(counts)((np.ones(len(counts.data)), counts.indices, counts.indptr), shape=counts.shape)


def tf_idf(counts: sparse.csr_matrix, idf: Floats) -> sparse.csr_matrix:
    """Return the counts weighted by `idf`, each row of length 1 (or 0)."""
    weighted = counts.data * idf[counts.indices]
    rows = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    lengths = np.sqrt(np.bincount(rows, weights=weighted**2, minlength=counts.shape[0]))
    return type(counts)((weighted / lengths[rows], counts.indices, counts.indptr), shape=counts.shape)
