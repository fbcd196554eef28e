"""Full runs and searches without a person: hyperparameter search, triggers on new data, the clock."""
