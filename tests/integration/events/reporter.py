"""A task whose events the tests report and read."""

from __future__ import annotations

import json
from typing import Any

from tests.api_client import ApiClient

UNKNOWN = "0" * 32
T0 = 1_795_407_600_000


class Reporter:
    """A task (or model) and what is reported for it."""

    def __init__(self, api: ApiClient, id_: str, **common: Any) -> None:
        self.api = api
        self.id = id_
        self.common = {"task": id_, **common}

    def send(self, *events: dict[str, Any], method: str = "POST") -> tuple[int, dict[str, Any]]:
        lines = "\n".join(json.dumps(self.common | event) for event in events)
        headers = {"Content-Type": "application/json-lines", "X-ClearML-Worker": "host:1"}
        reply = self.api.http.request(method, "/v2.23/events.add_batch", content=lines, headers=headers)
        return reply.status_code, reply.json()

    def add(self, *events: dict[str, Any]) -> None:
        status, reply = self.send(*events)
        assert (status, reply["data"]["added"], reply["data"]["errors"]) == (200, len(events), 0), reply

    def scalars(self, metric: str, variant: str, values: dict[int, float | None], start: int = T0) -> None:
        self.add(
            *(
                {"type": "training_stats_scalar", "metric": metric, "variant": variant, "iter": iteration}
                | {"value": value, "timestamp": start + iteration}
                for iteration, value in values.items()
            )
        )

    def plot(self, metric: str, variant: str, iteration: int, text: str = "{}") -> None:
        self.add({"type": "plot", "metric": metric, "variant": variant, "iter": iteration, "plot_str": text})

    def image(self, metric: str, variant: str, iteration: int, url: str) -> None:
        event = {"type": "training_debug_image", "metric": metric, "variant": variant, "iter": iteration}
        self.add(event | {"url": url, "key": url.rpartition("/")[2]})

    def __call__(self, endpoint: str, /, _version: str = "v2.23", **data: Any) -> dict[str, Any]:
        return self.api(f"events.{endpoint}", _version, task=self.id, **data)

    def refused(self, endpoint: str, /, **data: Any) -> tuple[int, int]:
        return self.api.send(f"events.{endpoint}", **{"task": self.id, **data}).error[:2]

    @property
    def document(self) -> dict[str, Any]:
        return self.api("tasks.get_by_id", task=self.id)["task"]


def messages(reply: dict[str, Any]) -> list[str]:
    assert reply["returned"] == len(reply["events"])
    return [event["msg"] for event in reply["events"]]
