"""Full runs and searches that go on by themselves: hyperparameter search, triggers on new data, the clock."""
