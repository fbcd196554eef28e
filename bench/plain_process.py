"""The work of upload and full pipeline in one plain process: what a person would write without ClearML.

Read the CSV, split it, preprocess the texts with this project's text step, then TF-IDF and naive Bayes of scikit-learn
in memory. `python -m bench.plain_process CSV` prints what it found as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from bench import fresh_process

TEST_SIZE, SEED, FEATURES = 0.2, 42, 1000


def work(csv: Path) -> dict[str, Any]:
    """Return the rows of both sets and the accuracy on the test set; the CSV has a folder of its own."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.naive_bayes import BernoulliNB

    from pipeline.amazon_reviews.reviews.frames import read_reviews, split
    from pipeline.amazon_reviews.reviews.text import preprocess

    train, test = split(read_reviews(csv.parent), test_size=TEST_SIZE, random_state=SEED)
    train, test = preprocess(train), preprocess(test)
    vectorizer = TfidfVectorizer(max_features=FEATURES, analyzer="word")
    features = vectorizer.fit_transform(train["corpus"].list.join(" ").fill_null(""))
    model = BernoulliNB().fit(features, train["Polarity"].to_numpy())
    predicted = model.predict(vectorizer.transform(test["corpus"].list.join(" ").fill_null("")))
    accuracy = float((predicted == test["Polarity"].to_numpy()).mean())
    return {"train_rows": len(train), "test_rows": len(test), "accuracy": accuracy}


if __name__ == "__main__":
    found = work(Path(sys.argv[1]))
    print(json.dumps(found | {"peak_mib": fresh_process.peak_mib()}))
