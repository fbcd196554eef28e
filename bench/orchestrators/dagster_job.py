"""Dagster, by its multiprocess executor, a process for each op: `python -m bench.orchestrators.dagster_job R W`."""

from __future__ import annotations

import sys
from pathlib import Path

from dagster import (  # type: ignore[import-not-found]
    DagsterInstance,
    In,
    Out,
    execute_job,
    job,
    multiprocess_executor,
    op,
    reconstructable,
)

from bench.orchestrators import three_steps

FOLDERS = {"reviews": str, "work": str}


@op(config_schema=FOLDERS, out={part: Out(str) for part in three_steps.PARTS})  # type: ignore[untyped-decorator]
def split_reviews(context) -> tuple[str, ...]:  # type: ignore[no-untyped-def]
    """Split the reviews."""
    found = three_steps.split(Path(context.op_config["reviews"]), Path(context.op_config["work"]))
    return tuple(str(found[part]) for part in three_steps.PARTS)


@op(config_schema=FOLDERS, ins={"raw": In(str)})  # type: ignore[untyped-decorator]
def process_train(context, raw: str) -> str:  # type: ignore[no-untyped-def]
    """Preprocess the training set."""
    return str(three_steps.process("train", Path(raw), Path(context.op_config["work"])))


@op(config_schema=FOLDERS, ins={"raw": In(str)})  # type: ignore[untyped-decorator]
def process_test(context, raw: str) -> str:  # type: ignore[no-untyped-def]
    """Preprocess the test set."""
    return str(three_steps.process("test", Path(raw), Path(context.op_config["work"])))


@job(executor_def=multiprocess_executor.configured({"max_concurrent": 2}))  # type: ignore[untyped-decorator]
def three_ops() -> None:
    """Split, then both parts side by side."""
    train, test = split_reviews()
    process_train(train)
    process_test(test)


def main() -> None:
    """Run the job in the instance that DAGSTER_HOME names."""
    folders = {"config": dict(zip(FOLDERS, sys.argv[1:3], strict=True))}
    ops = dict.fromkeys(("split_reviews", "process_train", "process_test"), folders)
    done = execute_job(reconstructable(three_ops), instance=DagsterInstance.get(), run_config={"ops": ops})
    sys.exit(0 if done.success else 1)


if __name__ == "__main__":
    main()
