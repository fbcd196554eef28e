"""The commands of `python -m pipeline`: arguments in, text out; the work is in the modules that they import."""
