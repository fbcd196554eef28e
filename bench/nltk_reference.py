"""What the text step must compute, row by row and word by word with NLTK: the yardstick, not the product."""

from __future__ import annotations

import re
from collections.abc import Callable, Container

REFERENCE = Callable[[str | None], list[str] | None]


def reference(stop_words: Container[str], lemmatize: Callable[[str], str]) -> REFERENCE:
    """Return the per-row preprocessing with these stop words and this lemmatizer."""

    def corpus(review: str | None) -> list[str] | None:
        if review is None:
            return None
        text = review.lower()
        text = re.sub(r"https?://\S+|www\.\S+|\[.*?\]|[^a-zA-Z\s]+|\w*\d\w*", "", text)
        text = re.sub(r"[0-9 \-_]+", " ", text)
        text = re.sub(r"[^a-z A-Z]+", " ", text)
        text = " ".join(word for word in text.split() if word not in stop_words)
        return [lemmatize(token) for token in text.split(" ")]

    return corpus
