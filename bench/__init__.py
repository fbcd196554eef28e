"""Benchmarks: ours beside a baseline in one run, by `./task bench`; the results are in docs/benchmarks.md.

A benchmark is a module here that keeps the contract of `bench.harness.Module`. Nothing of the product imports this.
"""
