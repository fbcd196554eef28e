"""A model at work: texts in, polarity and probability out, with the text preprocessing that it was trained with.

What a serving process uses: needs no ClearML and no scikit-learn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from pipeline.amazon_reviews.reviews.frames import CLASSES
from pipeline.amazon_reviews.reviews.text import corpus
from pipeline.amazon_reviews.training.errors import UnseenTextError
from pipeline.amazon_reviews.training.model import Model
from pipeline.amazon_reviews.training.tables import LABELS, Lemmas


@dataclass(frozen=True)
class Prediction:
    """What a model says of one text.

    Attributes:
        polarity: 1 or 2.
        label: `negative` or `positive`.
        probability: The probability of that label.
        known_terms: How many different terms of the text the model knows.
    """

    polarity: int
    label: str
    probability: float
    known_terms: int


@dataclass(frozen=True)
class Predictor:
    """Predicts the polarity of texts."""

    model: Model

    @classmethod
    def load(cls, path: Path) -> Predictor:
        """Read a model's file.

        Raises:
            ModelError: It is not a model that this version reads.
        """
        return cls(Model.load(path))

    def predict(self, texts: Sequence[str], *, allow_unseen: bool = False) -> list[Prediction]:
        """Return what the model says of each text.

        Args:
            texts: Raw texts, as people wrote them.
            allow_unseen: Answer also where no word of a text is known: by what the classes begin with.

        Raises:
            UnseenTextError: No word of a text is known.
            LexiconError: The package's word lists are missing or damaged.
        """
        lists = corpus(pl.Series(texts, dtype=pl.String)).to_arrow(compat_level=pl.CompatLevel.oldest())
        counts = self.model.vocabulary.counts(Lemmas.of_lists(lists), len(self.model.terms))
        known = counts.getnnz(axis=1)
        if not allow_unseen and (known == 0).any():
            place = int((known == 0).argmax())
            raise UnseenTextError(
                f"text {place + 1} of {len(texts)} has no word that the model knows: {texts[place][:80]!r}",
                hint="pass allow_unseen=True to get the answer for an empty text",
            )
        classes, positive = self.model.predict(counts)
        return [
            Prediction(
                polarity=LABELS[place],
                label=CLASSES[LABELS[place]],
                probability=float(share if place else 1 - share),
                known_terms=int(count),
            )
            for place, share, count in zip(classes, positive, known, strict=True)
        ]
