"""What clearml-serving costs: requests a second and their times, beside a bare FastAPI handler of the same model.

Both run in the environment of clearml-serving, one process each, and answer the same requests in turns. A model is
trained on generated reviews and served from a server of the benchmark's own.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import polars as pl
from clearml_localserver.pytest_plugin import ClearmlServer, running_server

from bench import environment
from bench.declaration import Benchmark, BenchmarkError, Say
from bench.machine import ROOT
from bench.result import Column, Row, Table, Target
from bench.server_client import Connection, LightClient
from clearml_access.own_server import STATE_VARIABLE
from pipeline.amazon_reviews.definitions import PROJECT
from pipeline.amazon_reviews.reviews.generate import generate
from pipeline.local_stack.settings import PORT_BASE_VARIABLE
from pipeline.serving.environment import ensure

CLIENTS = (1, 8, 64)
ROUNDS, SECONDS = 5, 2.0
TRAIN_ROWS, TEST_ROWS = 4_000, 500
SEED = 7
READY_S = 120.0
BARE, OURS = "bare FastAPI handler", "clearml-serving (./task serve-model)"


@dataclass(frozen=True)
class Way:
    """An address that answers with the model."""

    name: str
    url: str


def measure(options: argparse.Namespace, say: Say) -> Iterator[Row]:
    """Ask both, in turns, by each number of clients."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-serve-")))
        python = ensure(None, os.environ, say)
        say("training a model on generated reviews")
        model, texts = fitted(folder)
        server = stack.enter_context(running_server(folder / "server"))
        ways = [
            stack.enter_context(bare(python, model, folder)),
            stack.enter_context(served(server, model, folder, say)),
        ]
        require_same_answers(ways, texts[:50])
        for clients in options.clients:
            samples: dict[str, list[dict[str, float]]] = {way.name: [] for way in ways}
            for number in range(options.rounds):
                for way in ways if number % 2 else reversed(ways):
                    samples[way.name].append(turn(way, texts, clients, options.seconds))
            for way in ways:
                cells = {key: tuple(found[key] for found in samples[way.name]) for key in ("rate", "p50", "p99")}
                yield Row("serve", way.name, cells, f"{clients} client{'s' * (clients > 1)}")


def fitted(folder: Path) -> tuple[Path, list[str]]:
    """Train a model as the task TF-IDF does; return its file, and texts that it has not seen."""
    from pipeline.amazon_reviews.reviews.text import preprocess
    from pipeline.amazon_reviews.training.model import FILE_NAME
    from pipeline.amazon_reviews.training.tables import Processed
    from pipeline.amazon_reviews.training.train import Options, train

    csv = folder / "reviews.csv"
    csv.write_bytes(b"".join(generate(TRAIN_ROWS + TEST_ROWS, SEED)))
    frame = pl.read_csv(csv, has_header=False, new_columns=["Polarity", "Title", "Review"])
    whole = preprocess(frame, "Review")
    parts = {"train": whole.head(TRAIN_ROWS), "test": whole.tail(TEST_ROWS)}
    for part, rows in parts.items():
        rows.write_parquet(folder / f"{part}.parquet")
    learn, test = (Processed(f"{part} set", [folder / f"{part}.parquet"]) for part in parts)
    trained = train(learn, test, Options("bernoulli-nb", max_features=1_000, ngram_max=1, alpha=1.0), folder)
    trained.model.save(folder / FILE_NAME)
    return folder / FILE_NAME, parts["test"]["Review"].to_list()


@contextlib.contextmanager
def bare(python: Path, model: Path, folder: Path) -> Iterator[Way]:
    """Run the bare handler.

    Raises:
        BenchmarkError: It does not start.
    """
    port = environment.free_base() + environment.OFFSETS[0]
    command = [str(python), "-m", "uvicorn", "bench.bare_handler:app", "--port", str(port), "--no-access-log"]
    with (folder / "bare.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | {"BENCH_MODEL": str(model)}, stdout=log, stderr=subprocess.STDOUT
        )
    way = Way(BARE, f"http://127.0.0.1:{port}/predict")
    try:
        deadline = time.monotonic() + READY_S
        while not _answers(way.url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise BenchmarkError(f"the bare handler does not start:\n{(folder / 'bare.log').read_text()[-2000:]}")
            time.sleep(0.1)
        yield way
    finally:
        process.terminate()
        process.wait(timeout=30)


def _answers(url: str) -> bool:
    try:
        return httpx.post(url, json={"text": "a book"}, timeout=5, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


@contextlib.contextmanager
def served(server: ClearmlServer, model: Path, folder: Path, say: Say) -> Iterator[Way]:
    """Serve the model as a person does."""
    client = LightClient(server.api_url, server.credentials)
    token = str(client.call("auth.login", {})["token"])
    name = f"models/{model.name}"
    httpx.post(
        f"{server.files_url}/",
        files={name: (name, model.read_bytes())},
        headers={"Authorization": f"Bearer {token}"},
        trust_env=False,
    ).raise_for_status()
    project = client.call("projects.create", {"name": PROJECT})["id"]
    facts = {"name": "TF-IDF bernoulli-nb", "uri": f"{server.files_url}/{name}", "project": project, "ready": True}
    client.call("models.create", facts)
    client.close()
    own = {STATE_VARIABLE: str(folder / "state"), PORT_BASE_VARIABLE: str(environment.free_base())}
    environ = {**os.environ, **server.environment, **own}
    say("serving it")
    try:
        said = environment.run("serve", "up", "--json", environ=environ)
        yield Way(OURS, str(json.loads(said.splitlines()[-1])["url"]))
    finally:
        environment.run("serve", "down", environ=environ)


def require_same_answers(ways: Sequence[Way], texts: Sequence[str]) -> None:
    """Compare the answers of all ways.

    Raises:
        BenchmarkError: They differ.
    """
    for text in texts:
        request = {"text": text, "allow_unseen": True}
        found = [httpx.post(way.url, json=request, timeout=60, trust_env=False).json() for way in ways]
        first, *others = [
            (answer["predictions"][0]["label"], answer["predictions"][0]["probability"]) for answer in found
        ]
        if any(other != first for other in others):
            raise BenchmarkError(f"the ways answer {first} and {others} to {text[:80]!r}")


def turn(way: Way, texts: Sequence[str], clients: int, seconds: float) -> dict[str, float]:
    """Ask for some seconds; return requests per second, and times in ms."""
    connections = [Connection(way.url) for _ in range(clients)]
    path = urlsplit(way.url).path
    requests = [connections[0].post(path, json.dumps({"text": text, "allow_unseen": True}).encode()) for text in texts]
    for connection in connections:
        connection.send(requests[0])
    times: list[float] = []
    began = time.perf_counter()

    def run(number: int) -> None:
        for request in itertools.cycle(requests[number % len(requests) :] + requests[: number % len(requests)]):
            before = time.perf_counter()
            if before > began + seconds:
                return
            connections[number].send(request)
            times.append(time.perf_counter() - before)

    with ThreadPoolExecutor(clients) as threads:
        list(threads.map(run, range(clients)))  # which raises what a client has raised
    took = time.perf_counter() - began
    for connection in connections:
        connection.close()
    quantiles = statistics.quantiles(times, n=100)
    return {"rate": len(times) / took, "p50": quantiles[49] * 1000, "p99": quantiles[98] * 1000}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the sizes."""
    parser.add_argument("--clients", type=int, nargs="+", default=list(CLIENTS), help="numbers of clients")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"turns of each (default {ROUNDS})")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"length of a turn (default {SECONDS:g})")


BENCHMARK = Benchmark(
    title="Serving a model",
    by_default=False,
    page_order=130,
    intro="""
One text in each request, each client waiting for its answer, both in one process that predicts on its event loop. What
is measured is what clearml-serving adds: finding the endpoint, checking the request, the shape of the answer. The texts
are prepared and the probabilities computed by the same code.
""",
    tables=(
        Table(
            "serve",
            "Answers with one text",
            (
                Column("rate", "requests", "1/s", better="higher"),
                Column("share", "of the baseline", "x", better="higher", ratio_of="rate"),
                Column("p50", "p50", "ms"),
                Column("p99", "p99", "ms"),
            ),
            baseline=BARE,
            chart="rate",
        ),
    ),
    targets=(Target("serve", "share", 0.8, row=OURS),),
    add_arguments=add_arguments,
    measure=measure,
    quick={"clients": [1, 4], "rounds": 1, "seconds": 0.5},
)
