"""Reviews as files and frames: read, split, preprocessed, counted, drawn, made up. Knows nothing of ClearML."""
