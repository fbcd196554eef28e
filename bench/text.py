"""How fast and how large the text step is, beside the word-by-word way it replaces and beside the machine's limit.

    python -m bench.text [--rows 25000] [--big-rows 1000000] [--file reviews.csv]

- `original`: what the step replaces: row by row, NLTK's stop-word corpus asked for every word and NLTK's lemmatizer for
  every token (on the first reviews only: it is that slow);
- `plain`: the same, careful: stop words in a frozen set, lemmas remembered;
- `cold`: `pipeline.text.corpus` in a fresh process, its libraries and word lists loaded within the time;
- `in memory`: the same on many rows, texts and lists both in memory;
- `streaming`: `pipeline.processing.preprocess_file`, CSV to parquet and parquet to parquet;
- `floor`: polars reads the CSV and writes parquet, and nothing else.

Each is a process of its own, so that the peak of its memory (VmHWM) is its own. All must give the same lists, or the
benchmark fails. `rows/s` is by the clock on the wall, which other work on the machine slows down; `rows/cpu s` is by
the processor time of all threads, and on a busy machine the one to believe. Prints a table, and one JSON object as the
last line.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.reviews import SCHEMA

ROWS, BIG_ROWS, ORIGINAL_ROWS = 25_000, 1_000_000, 100
TARGETS: dict[str, dict[str, float]] = {
    "cold": {"times_original": 150, "times_original_cpu": 150},
    "in memory": {"rows_per_s": 60_000, "peak_mib": 2_560},
    "streaming from CSV": {"peak_mib": 1_024},
    "streaming from parquet": {"peak_mib": 1_024},
}
CHILD_TIMEOUT_S = 1_800

Corpus = list[list[str] | None]
Result = dict[str, Any]


# What runs, each in a process of its own: file, rows → rows done, the time it took, a digest of what came out.


def original(file: Path, rows: int) -> Result:
    """Do it as the original did: the corpora are asked for every word."""
    from nltk.corpus import stopwords
    from nltk.stem import WordNetLemmatizer

    from tests.unit.pipeline.nltk_reference import reference

    class Asked:
        def __contains__(self, word: object) -> bool:
            return word in set(stopwords.words("english"))

    row = reference(Asked(), lambda token: str(WordNetLemmatizer().lemmatize(token)))
    with _nltk_data():
        row("NLTK loads its WordNet at the first lemma")
        return _word_by_word(row, _reviews(file, rows))


def plain(file: Path, rows: int) -> Result:
    """Do it row by row with everything remembered."""
    from nltk.corpus import stopwords
    from nltk.stem import WordNetLemmatizer

    from tests.unit.pipeline.nltk_reference import reference

    with _nltk_data():
        row = reference(frozenset(stopwords.words("english")), functools.cache(WordNetLemmatizer().lemmatize))
        row("NLTK loads its WordNet at the first lemma")
        return _word_by_word(row, _reviews(file, rows))


def in_memory(file: Path, rows: int) -> Result:
    """Do it with the product, on a column in memory; imports and word lists are within the time."""
    reviews = _reviews(file, rows)
    with Stopwatch() as watch:
        from pipeline.text import corpus

        lists = corpus(reviews)
    return watch.result(rows) | {"digests": _digests(lists)}


def streaming(file: Path, rows: int) -> Result:
    """Do it from file to file."""
    from pipeline.processing import preprocess_file

    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        target = Path(folder, "processed.parquet")
        with Stopwatch() as watch:
            preprocess_file(file, target)
        return watch.result(rows) | {"digests": _digests(pl.read_parquet(target, columns=["corpus"])["corpus"])}


def floor(file: Path, rows: int) -> Result:
    """Read and write, and do nothing."""
    with tempfile.TemporaryDirectory(dir=file.parent) as folder, Stopwatch() as watch:
        _scan(file).sink_parquet(Path(folder, "same.parquet"))
    return watch.result(rows)


PARTS: dict[str, Callable[[Path, int], Result]] = {
    "original": original,
    "plain": plain,
    "cold": in_memory,
    "in memory": in_memory,
    "streaming from CSV": streaming,
    "streaming from parquet": streaming,
    "floor": floor,
}


class Stopwatch:
    """Takes the time of a block, and the process's peak of memory at its end."""

    def __enter__(self) -> Stopwatch:
        self._start = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self._wall, self._cpu = time.perf_counter() - self._start[0], time.process_time() - self._start[1]
        status = Path("/proc/self/status").read_text().splitlines()  # `ru_maxrss` would count the parent's too
        self._peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024

    def result(self, rows: int) -> Result:
        """Return the figures for so many rows."""
        return {
            "rows": rows,
            "seconds": round(self._wall, 3),
            "cpu_seconds": round(self._cpu, 3),
            "rows_per_s": round(rows / self._wall, 1),
            "rows_per_cpu_s": round(rows / self._cpu, 1),
            "peak_mib": round(self._peak),
        }


def _word_by_word(row: Callable[[str | None], list[str] | None], reviews: pl.Series) -> Result:
    with Stopwatch() as watch:
        lists = [row(review) for review in reviews]
    return watch.result(len(reviews)) | {"digests": _digests(pl.Series(lists, dtype=pl.List(pl.String)))}


def _reviews(file: Path, rows: int) -> pl.Series:
    return _scan(file).select("Review").head(rows).collect()["Review"]


def _scan(file: Path) -> pl.LazyFrame:
    return pl.scan_csv(file, has_header=False, schema=SCHEMA)


def _nltk_data() -> tempfile.TemporaryDirectory[str]:
    import nltk

    from pipeline.nltk_data import write_nltk_data

    folder = tempfile.TemporaryDirectory()
    write_nltk_data(Path(folder.name))
    nltk.data.path[:] = [folder.name]
    return folder


def _digests(lists: pl.Series) -> dict[str, str]:
    """Return a digest of the first rows, for each number of rows that two ways have in common."""
    return {
        str(rows): hashlib.sha256(json.dumps(lists[:rows].to_list()).encode()).hexdigest()[:16]
        for rows in (ORIGINAL_ROWS, ROWS)
        if rows <= len(lists)
    }


# Measuring


def measure(rows: int = ROWS, big_rows: int = BIG_ROWS, file: Path | None = None) -> Result:
    """Run every part in a process of its own.

    Args:
        rows: Reviews for a fresh process, and for the plain way.
        big_rows: Reviews for the parts that are about size.
        file: A review file without header that has as many; default: a generated one.

    Returns:
        `parts` (name → figures), `machine`, and `equal`: whether all parts gave the same lists.
    """
    from pipeline.generate import generate
    from pipeline.tables import BATCH_ROWS

    load = machine()["load"]
    with tempfile.TemporaryDirectory(prefix="bench-text-") as name:
        folder = Path(name)
        whole, few, parquet = folder / "big.csv", folder / "few.csv", folder / "big.parquet"
        with whole.open("wb") as stream:
            if file:
                for number, line in enumerate(file.open("rb")):
                    if number == big_rows:
                        break
                    stream.write(line)
            else:
                for block in generate(big_rows, 42):
                    stream.write(block)
        _scan(whole).sink_parquet(parquet, row_group_size=BATCH_ROWS)
        with whole.open("rb") as stream, few.open("wb") as small:
            small.writelines(stream.readline() for _ in range(max(rows, ORIGINAL_ROWS)))
        plan = {
            "original": (few, ORIGINAL_ROWS),
            "plain": (few, rows),
            "cold": (few, rows),
            "in memory": (whole, big_rows),
            "streaming from CSV": (whole, big_rows),
            "streaming from parquet": (parquet, big_rows),
            "floor": (whole, big_rows),
        }
        parts = {part: run_part(part, source, count) for part, (source, count) in plan.items()}
    for part in parts.values():
        part["times_original"] = round(part["rows_per_s"] / parts["original"]["rows_per_s"], 1)
        part["times_original_cpu"] = round(part["rows_per_cpu_s"] / parts["original"]["rows_per_cpu_s"], 1)
    for name, targets in TARGETS.items():
        parts[name]["missed"] = missed(parts[name], targets)
    digests = [part.pop("digests", {}) for part in parts.values()]
    equal = all(len({digest[rows] for digest in digests if rows in digest}) <= 1 for rows in digests[1] | digests[0])
    return {"parts": parts, "machine": machine() | {"load_before": load}, "equal": equal}


def run_part(part: str, file: Path, rows: int) -> Result:
    """Run one part in a process of its own.

    Raises:
        RuntimeError: It failed.
    """
    command = [sys.executable, "-m", "bench.text", "--part", part, "--file", str(file), "--rows", str(rows)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=CHILD_TIMEOUT_S)
    if done.returncode:
        raise RuntimeError(f"{part} failed:\n{done.stderr[-2000:]}")
    result: Result = json.loads(done.stdout.splitlines()[-1])
    return result


def missed(figures: Result, targets: dict[str, float]) -> list[str]:
    """Return the names of the figures that are beyond their targets: memory must be less, all else more."""
    return [
        name
        for name, target in targets.items()
        if (figures[name] > target if name == "peak_mib" else figures[name] < target)
    ]


def machine() -> Result:
    """Return what the figures depend on."""
    import pyarrow

    return {
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "python": sys.version.split()[0],
        "polars": pl.__version__,
        "pyarrow": pyarrow.__version__,
    }


# Showing

_UNITS = {
    "times_original": "{:,.0f} x original",
    "times_original_cpu": "{:,.0f} x by cpu",
    "rows_per_s": "{:,.0f} rows/s",
    "peak_mib": "{:,.0f} MiB",
}


def table(result: Result) -> str:
    """Return the results as text, each target with what became of it."""
    facts = result["machine"]
    lines = [
        f"{facts['cores']} cores, load {facts['load_before']} to {facts['load']}; "
        f"Python {facts['python']}, polars {facts['polars']}, pyarrow {facts['pyarrow']}",
        "",
        _line("", ("rows", "rows/s", "x original", "rows/cpu s", "x by cpu", "peak MiB"), "target"),
    ]
    for name, part in result["parts"].items():
        figures = (
            *(f"{part['rows']:,}", f"{part['rows_per_s']:,.0f}", f"{part['times_original']:,.1f}"),
            *(f"{part['rows_per_cpu_s']:,.0f}", f"{part['times_original_cpu']:,.1f}", f"{part['peak_mib']:,}"),
        )
        lines.append(_line(name, figures, _verdict(name, part)))
    return "\n".join(lines)


def _line(name: str, figures: tuple[str, ...], verdict: str) -> str:
    return f"{name:23}{''.join(f'{figure:>11}' for figure in figures)}  {verdict}".rstrip()


def _verdict(name: str, part: Result) -> str:
    return ", ".join(
        f"{'at most' if figure == 'peak_mib' else 'at least'} {_UNITS[figure].format(target)}: "
        + ("MISSED" if figure in part["missed"] else "met")
        for figure, target in TARGETS.get(name, {}).items()
    )


def main() -> int:
    """Measure, compare, print."""
    parser = argparse.ArgumentParser(description="Measure the text step.")
    parser.add_argument("--rows", type=int, default=ROWS, help="reviews for a fresh process")
    parser.add_argument("--big-rows", type=int, default=BIG_ROWS, help="reviews in memory and streaming")
    parser.add_argument("--file", type=Path, help="a review file (no header) instead of generated reviews")
    parser.add_argument("--part", choices=PARTS, help="only this one, in this process")
    options = parser.parse_args()
    if options.part:
        print(json.dumps(PARTS[options.part](options.file, options.rows)))
        return 0
    result = measure(options.rows, options.big_rows, options.file)
    if not result["equal"]:
        print("the ways disagree", file=sys.stderr)
        return 1
    print(table(result))
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
