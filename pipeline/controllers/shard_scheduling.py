"""How a controller deals with the shards of its steps: how many at once, which failures are worth another try.

It must not know what the steps do. Outside system: the ClearML server, asked for the console of a shard that failed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from clearml_access.errors import UserFacingError
from pipeline.clearml_server import ClearmlServer
from pipeline.graph import sharding
from pipeline.run_options import IN_PROCESS, RunOptions

CONSOLE_LINES = 50

_REFUSAL = re.compile(
    r"pipeline\.(errors\.(Data|InputFile|BadRows|Lexicon|Settings)Error|datasets\.datasets\.Dataset\w+Error): .+",
    re.ASCII,
)
"""What the traceback of a step ends with that does not like its data: it would say the same again."""


@dataclass(frozen=True)
class ShardScheduling:
    """A run's shards."""

    shardable: Collection[str] = ()
    """The steps that are split."""
    shards: int = 1
    at_once: int = sharding.NO_LIMIT
    """Shards that are in queues or running at the same time."""
    retries: int = sharding.RETRIES
    """How often one that failed is run again."""

    @classmethod
    def of_options(cls, options: RunOptions, shardable: Collection[str]) -> ShardScheduling:
        """Return a run's shards as its options say.

        In process no queue's workers limit what runs at once; this machine's cores do so then.

        Args:
            options: The options.
            shardable: The steps that can be split.
        """
        no_limit = os.cpu_count() or 1 if options.mode == IN_PROCESS else sharding.NO_LIMIT
        return cls(shardable, options.shards, options.max_parallel or no_limit, options.retries)

    def is_shard(self, step: str) -> bool:
        """Return whether a step is a shard of another one."""
        base = sharding.base_of(step)
        return base != step and base in self.shardable

    def must_wait(self, step: str, nodes: Iterable[Any]) -> bool:
        """Return whether a step is a shard and as many as may be are under way.

        Args:
            step: The step that could be launched.
            nodes: All steps, as the SDK's controller has them.
        """
        if not self.at_once or not self.is_shard(step):
            return False
        under_way = [node for node in nodes if self.is_shard(node.name) and node.job and node.executed is None]
        return len(under_way) >= self.at_once

    def is_tried_again(
        self, server: ClearmlServer, step: str, task_id: str, tries: int, own: int | None = None
    ) -> bool:
        """Return whether a step that failed by an error of its own is worth another try.

        Args:
            server: The server.
            step: The step.
            task_id: Its task.
            tries: How often it has been run again already.
            own: How often it may be; by default as often as the run says where it is a shard, else never.
        """
        most = own if own is not None else self.retries if self.is_shard(step) else 0
        if tries >= most:
            return False
        try:
            return not refuses_its_data(server.console(task_id, CONSOLE_LINES))
        except UserFacingError:
            return True


def refuses_its_data(lines: Iterable[str]) -> bool:
    """Return whether a console ends with an error that would come again."""
    return any(_REFUSAL.fullmatch(line) for line in lines)
