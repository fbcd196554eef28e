"""Features, models and metrics of processed reviews, batch by batch in constant memory. Pure: files in, arrays out.

`train` is all of it in order. `tables` reads and writes the files, `vocabulary` chooses and counts terms, `fit` makes a
`Model` of the counts, `model` predicts and is stored as one JSON file, `metrics` says how good it is, `predictor` is
what a serving process uses. It must not know ClearML (`pipeline.models`) nor datasets (`pipeline.fitting`), and talks
to no outside system but the files it is given.
"""
