"""What pipeline, deploy, bench, images and cluster all know: a ClearML server, its documents, and the shared facts.

It imports none of them, and neither the SDK, polars nor Kubernetes when it is imported: a command's `--help` must not
wait. It never prints.
"""
