"""`./task test-fuzz -- --requests N --seed S`."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import click
from clearml_localserver.pytest_plugin import running_server

from tests.fuzz.client import Fuzzer


@click.command()
@click.option("--requests", default=20_000, show_default=True, help="How many requests are sent.")
@click.option("--seed", default=None, type=int, help="Repeat an earlier run.")
def main(requests: int, seed: int | None) -> None:
    """Send requests made of the endpoints' schemas, spoilt; show every fault of the server."""
    seed = time.time_ns() % 2**32 if seed is None else seed
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder, running_server(Path(folder) / "data") as server:
        problems = Fuzzer(server, seed).run(requests)
        log = server.data.with_name("data.log").read_text(encoding="utf-8", errors="replace")
    for problem in problems:
        click.echo(problem)
    if problems:
        click.echo(f"The server's log ends with:\n{log[-5000:]}")
    click.echo(f"{requests} requests, {len(problems)} problems, {time.monotonic() - began:.0f} s (seed {seed})")
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
