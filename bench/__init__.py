"""Benchmarks: ours beside a baseline in one run, by `./task bench`; the results are in docs/benchmarks.md.

A benchmark is a module here with a `BENCHMARK` (`bench.declaration`). Nothing of the product imports this package.
"""
