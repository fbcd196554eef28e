"""The task TF-IDF around `training`: what it takes, its work, its plots, its models on the server."""
