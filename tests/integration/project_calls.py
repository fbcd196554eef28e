"""What the tests of projects share: projects, tasks and models by short calls."""

from __future__ import annotations

from itertools import count
from typing import Any
from uuid import uuid4

from tests.api_client import ApiClient

NUMBER = count()


def unique(text: str = "proj") -> str:
    return f"{text}{next(NUMBER)}{uuid4().hex[:8]}"


def project(api: ApiClient, name: str | None = None, **fields: Any) -> str:
    return str(api("projects.create", name=name or unique(), description="", **fields)["id"])


def task(api: ApiClient, project_id: str | None, **fields: Any) -> str:
    wanted = {"name": unique("task"), "type": "training"} | ({"project": project_id} if project_id else {})
    return str(api("tasks.create", **wanted | fields)["id"])


def model(api: ApiClient, project_id: str, **fields: Any) -> str:
    wanted = {"name": unique("model"), "uri": f"file:///{uuid4().hex}", "project": project_id}
    return str(api("models.create", **wanted | fields)["id"])


def get(api: ApiClient, id: str) -> dict[str, Any]:
    found: dict[str, Any] = api("projects.get_by_id", project=id)["project"]
    return found


def named(api: ApiClient, name: str) -> list[str]:
    found = api("projects.get_all", name=f"^{name}", search_hidden=True, order_by=["name"])["projects"]
    return [item["name"] for item in found]
