"""A browser without a screen, a queue, and a pipeline with hostile names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from uuid import uuid4

import pytest
from clearml_localserver.pytest_plugin import ClearmlServer

from tests.api_client import ApiClient
from tests.integration.web.pages import HOSTILE, Web, make_task


@pytest.fixture
def web(clearml_server: ClearmlServer) -> Iterator[Web]:
    client = Web(clearml_server.web_url)
    yield client
    client.http.close()


@pytest.fixture(scope="module")
def module_api(clearml_server: ClearmlServer) -> Iterator[ApiClient]:
    """A client for what a module's tests share."""
    with closing(ApiClient(clearml_server.api_url, clearml_server.credentials)) as client:
        yield client


@pytest.fixture
def queue(api: ApiClient) -> str:
    return str(api("queues.create", name=f"queue {uuid4().hex[:8]}")["id"])


@pytest.fixture
def controller(api: ApiClient) -> str:
    """A pipeline controller with hostile names wherever a person may write one."""
    project = api("projects.create", name=f"Web {uuid4().hex[:6]}/.pipelines/{HOSTILE}", description=HOSTILE)["id"]
    api("projects.update", project=project, system_tags=["pipeline", "hidden"])
    graph = {
        HOSTILE: {"parents": [], "status": "pending", "job_id": None},
        "second": {"parents": [HOSTILE], "status": "pending", "job_id": None},
    }
    return make_task(
        api,
        HOSTILE,
        type="controller",
        project=project,
        system_tags=["pipeline"],
        tags=[HOSTILE],
        comment=HOSTILE,
        hyperparams={
            "Args": {
                "version": {
                    "section": "Args",
                    "name": "version",
                    "value": "1.2",
                    "type": "str",
                    "description": HOSTILE,
                },
                "rows": {"section": "Args", "name": "rows", "value": "3", "type": "int"},
            }
        },
        configuration={
            "Pipeline": {"name": "Pipeline", "value": json.dumps(graph)},
            HOSTILE: {"name": HOSTILE, "value": HOSTILE},
        },
        script={"diff": HOSTILE, "repository": HOSTILE, "requirements": {"pip": HOSTILE}},
        container={"image": HOSTILE},
    )
