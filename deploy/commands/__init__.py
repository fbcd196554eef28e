"""What each command of `python -m deploy` does."""
