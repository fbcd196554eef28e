"""Features, models and metrics of processed reviews, batch by batch. Pure: files in, arrays out.

`train` is all of it in order. `tables` reads and writes the files, `vocabulary` chooses and counts terms, `fit` feeds
the counts to scikit-learn's estimators and makes a `Model` of them, `model` predicts and is stored as one JSON file,
`metrics` are scikit-learn's, `predictor` is what a serving process uses. Ours is what scikit-learn has not: terms that
are chosen and counted without all texts in memory, and a file that is safe to load. It must not know ClearML
(`pipeline.amazon_reviews.model.registry`) nor datasets (`pipeline.amazon_reviews.model.fitting`), and talks to no
outside system but the files it is given.
"""
