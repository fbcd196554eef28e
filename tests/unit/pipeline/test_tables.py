from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from pyarrow import parquet

from pipeline.amazon_reviews.reviews import tables
from pipeline.amazon_reviews.reviews.tables import Table, csv_sink, write_parquet
from pipeline.errors import BadRowsError, InputFileError, OutputFileError
from pipeline.files import replacing


def table(path: Path, column: str = "Review") -> Table:
    return Table(path, column=column, quarantine=path.with_name("bad.jsonl"))


def test_parquet_comes_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "BATCH_ROWS", 4)
    frame = pl.DataFrame({"n": range(10), "Review": [None, *"abcdefghi"], "tags": [["x"], []] * 5})
    frame.write_parquet(tmp_path / "in.anything")

    source = table(tmp_path / "in.anything")
    batches = list(source.batches())

    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert pl.concat(batches).equals(frame)
    assert (source.summary.rows, source.summary.bad, source.progress) == (10, 0, 1.0)


def test_csv_comes_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "BATCH_ROWS", 4)
    (tmp_path / "in.csv").write_text("Text\n" + "x\n" * 10)

    source = table(tmp_path / "in.csv", "Text")

    assert [len(batch) for batch in source.batches()] == [4, 4, 2]
    assert (source.summary.rows, source.progress) == (10, 1.0)


def test_parquet_without_rows_keeps_its_columns(tmp_path: Path) -> None:
    frame = pl.DataFrame(schema={"n": pl.Int32, "Review": pl.String})
    frame.write_parquet(tmp_path / "in.parquet")

    write_parquet(tmp_path / "out.parquet", table(tmp_path / "in.parquet").batches())

    assert pl.read_parquet(tmp_path / "out.parquet").equals(frame)


def test_damaged_parquet(tmp_path: Path) -> None:
    good = tmp_path / "good.parquet"
    pl.DataFrame({"Review": [f"text number {number}" for number in range(50_000)]}).write_parquet(
        good, compression="zstd"
    )
    content = good.read_bytes()
    (tmp_path / "cut.parquet").write_bytes(content[: len(content) // 2])
    (tmp_path / "page.parquet").write_bytes(content[:5_000] + bytes(5_000) + content[10_000:])

    with pytest.raises(InputFileError, match="cannot be read as parquet"):
        table(tmp_path / "cut.parquet")
    with pytest.raises(InputFileError, match="cannot be read as parquet"):
        list(table(tmp_path / "page.parquet").batches())


def frames_then(error: Exception) -> Iterator[pl.DataFrame]:
    yield pl.DataFrame({"n": [1]})
    raise error


@pytest.mark.parametrize("error", [BadRowsError("bad"), KeyboardInterrupt(), ZeroDivisionError()])
def test_a_failure_leaves_what_was_there(tmp_path: Path, error: Exception) -> None:
    target = tmp_path / "out.parquet"
    target.write_text("old")

    with pytest.raises(type(error)):
        write_parquet(target, frames_then(error))

    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"out.parquet": "old"}


def test_full_disk(tmp_path: Path) -> None:
    with pytest.raises(OutputFileError) as caught:
        write_parquet(tmp_path / "out.parquet", frames_then(OSError(28, "No space left on device")))

    assert caught.value.message == f"cannot write {tmp_path}/out.parquet: No space left on device"
    assert list(tmp_path.iterdir()) == []


def test_file_size_limit_of_the_real_writer(tmp_path: Path) -> None:
    code = (
        "import resource, sys, polars as pl; from pathlib import Path\n"
        "from pipeline.amazon_reviews.reviews.tables import write_parquet\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "write_parquet(Path(sys.argv[1]), iter([pl.DataFrame({'n': range(100_000)})]))"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "out.parquet")], capture_output=True, text=True, timeout=60
    )

    assert "OutputFileError: cannot write" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_replacing(tmp_path: Path) -> None:
    target = tmp_path / "new" / "file"

    with replacing(target) as temporary:
        temporary.write_text("x")
        assert not target.exists()

    assert target.read_text() == "x"
    assert [path.name for path in target.parent.iterdir()] == ["file"]
    with pytest.raises(OutputFileError, match="it is a folder"), replacing(tmp_path):
        pass
    with pytest.raises(OutputFileError, match="cannot write"), replacing(target / "below a file"):
        pass


def test_csv_in_pieces_is_the_csv_in_one(tmp_path: Path) -> None:
    frame = pl.DataFrame({"n": [1, None, 3], "text": ['a "quoted", text', "", None]})

    with csv_sink(tmp_path / "out.csv") as write:
        for piece in frame.iter_slices(1):
            write(piece)

    assert (tmp_path / "out.csv").read_text() == frame.write_csv()


@pytest.mark.parametrize(
    "dtype",
    [pl.Int8, pl.UInt32, pl.Float32, pl.Boolean, pl.Date, pl.Datetime("us", "UTC"), pl.Duration("ms"), pl.String],
)
def test_types_survive(tmp_path: Path, dtype: pl.DataType) -> None:
    values = pl.Series([1, None, 0]).cast(dtype)
    frame = pl.DataFrame({"x": values, "lists": [["a", None, "a"], None, []], "numbers": [[1], [], None]})

    write_parquet(tmp_path / "out.parquet", iter([frame]))

    assert pl.read_parquet(tmp_path / "out.parquet").equals(frame)
    assert parquet.read_schema(tmp_path / "out.parquet").field("lists").type == pa.large_list(pa.large_string())


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_small_disk(tmp_path: Path, kind: str) -> None:
    """A real file system that is full in the middle of a sink; where nobody may mount one, a limit on a file's size."""
    disk = tmp_path / "disk"
    disk.mkdir()
    limit = ""
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True).returncode:
        limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))\n"
    code = (
        f"{limit}import sys, random, polars as pl; from pathlib import Path\n"
        "from pipeline.amazon_reviews.reviews import tables\n"
        "rows = pl.DataFrame({'t': [random.Random(n).randbytes(20).hex() for n in range(500)]})\n"
        f"with tables.{kind}_sink(Path(sys.argv[1])) as write:\n"
        "    for number in range(100):\n"
        f"        write({'rows' if kind == 'csv' else 'tables.to_arrow(rows)'})\n"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, str(disk / "out")], capture_output=True, text=True, timeout=60
        )
        left = list(disk.iterdir())
    finally:
        if not limit:
            subprocess.run(["umount", disk], check=True)

    assert f"OutputFileError: cannot write {disk}/out: " in done.stderr
    assert left == []


def test_what_is_not_a_file_is_never_replaced(tmp_path: Path) -> None:
    """Root's report into /dev/null took that device from the whole machine."""
    device, link, real = tmp_path / "device", tmp_path / "link", tmp_path / "real"
    os.mkfifo(device)
    with replacing(device) as given:
        assert given == device
    assert device.is_fifo()
    real.write_text("old")
    link.symlink_to(real)
    with replacing(link) as temporary:
        temporary.write_text("new")
        assert real.read_text() == "old"
    assert link.is_symlink() and real.read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["device", "link", "real"]
