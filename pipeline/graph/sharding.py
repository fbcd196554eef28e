"""Steps that are split over workers: the names of their shards, the graph with them, and which rows are whose.

A sharded step keeps its name and its outputs, so that what comes behind it stays as it is: it then only joins what its
shards, `<step>_1` to `<step>_N`, have made. The module is pure: the stages of shards are in
`pipeline.amazon_reviews.step_work`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass

from pipeline.errors import DataError

MOST_SHARDS = 64
MOST_RETRIES = 10
RETRIES = 1
"""How often a shard that failed is run again unless told otherwise."""

NO_LIMIT = 0
"""As many shards at once as there are workers."""

_SHARD = re.compile(r"(?P<step>.+)_[1-9]\d*", re.ASCII)


def shard_names(step: str, shards: int) -> tuple[str, ...]:
    """Return the steps that do a step's work: none where it is not split."""
    return tuple(f"{step}_{number}" for number in range(1, shards + 1)) if shards > 1 else ()


def base_of(step: str) -> str:
    """Return the step that a shard is of; the name itself where it is not a shard's."""
    match = _SHARD.fullmatch(step)
    return match["step"] if match else step


def value_of(values: Mapping[str, str], step: str) -> str:
    """Return what is set for a step, or else for the step that it is a shard of, or nothing."""
    return values.get(step) or values.get(base_of(step)) or ""


def spread(graph: Mapping[str, tuple[str, ...]], shardable: Collection[str], shards: int) -> dict[str, tuple[str, ...]]:
    """Return a graph (step → the steps that it waits for) in which the shards stand before their step."""
    spreaded: dict[str, tuple[str, ...]] = {}
    for step, parents in graph.items():
        names = shard_names(step, shards) if step in shardable else ()
        spreaded |= dict.fromkeys(names, parents)
        spreaded[step] = names or parents
    return spreaded


def rows_of(number: int, shards: int, rows: int) -> tuple[int, int]:
    """Return the first row of a shard and the one behind its last; shards differ by one row at most.

    Args:
        number: The shard, from 1 on.
        shards: How many there are.
        rows: How many rows there are in all.
    """
    return rows * (number - 1) // shards, rows * number // shards


def require_rows(part: str, rows: int, shards: int) -> None:
    """Check that every shard gets a row.

    Raises:
        DataError: There are more shards than rows.
    """
    if shards > rows:
        raise DataError(
            f"{shards} shards are too many: the {part} set has {rows:,} reviews",
            hint=f"--shards {max(rows, 1)} or fewer",
        )


def file_of(part: str, number: int, shards: int) -> str:
    """Return the name of a shard's frame; the names of all shards are in the order of their rows."""
    return f"processed_{part}_{number:03}_of_{shards:03}.parquet"


@dataclass(frozen=True)
class Shard:
    """What a shard says of the frame that it has stored."""

    part: str
    split: str
    """Id of the dataset version that the rows are from."""
    number: int
    shards: int
    rows: int
    """Rows of the whole part."""
    start: int
    stop: int
    words: int
    """Lemmas in its rows."""
    uri: str
    """Where its frame is stored."""
    sha256: str
    size: int
    """Of the frame, in bytes."""

    @property
    def file(self) -> str:
        """The name of its frame in the version."""
        return file_of(self.part, self.number, self.shards)

    def to_json(self) -> str:
        """Return the text that `from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: object) -> Shard:
        """Read what `to_json` wrote.

        Raises:
            DataError: It did not write this.
        """
        try:
            return cls(**json.loads(str(text)))
        except (ValueError, TypeError) as error:
            raise DataError(f"a shard does not say which rows it has: {str(text)[:200]!r}") from error


def require_whole(part: str, shards: Sequence[Shard], rows: Sequence[int]) -> None:
    """Check that shards, in their order, are one whole part of one split.

    Args:
        part: `train` or `test`.
        shards: What each says of itself.
        rows: How many rows are in the frame of each.

    Raises:
        DataError: A row is missing, comes twice, or belongs to something else.
    """

    def refuse(problem: str) -> DataError:
        return DataError(
            f"the shards of the {part} set cannot be joined: {problem}",
            hint="run the shards again: ./task run-pipeline -- --no-cache",
        )

    if not shards:
        raise refuse("there are none")
    numbers = [shard.number for shard in shards]
    if numbers != list(range(1, shards[0].shards + 1)):
        raise refuse(f"there should be 1 to {shards[0].shards}, and there are {', '.join(map(str, numbers))}")
    place = 0
    for shard, count in zip(shards, rows, strict=True):
        for what, found, wanted in (
            ("part", shard.part, part),
            ("split", shard.split, shards[0].split),
            ("number of shards", shard.shards, shards[0].shards),
            ("number of rows of the whole", shard.rows, shards[0].rows),
            ("first row", shard.start, place),
            ("number of rows", count, shard.stop - shard.start),
        ):
            if found != wanted:
                raise refuse(f"the {what} of shard {shard.number} is {found} and not {wanted}")
        place = shard.stop
    if place != shards[0].rows:
        raise refuse(f"they end at row {place:,} of {shards[0].rows:,}")
