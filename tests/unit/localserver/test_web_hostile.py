"""Pages of documents that hold anything at all: every page answers, is whole HTML, and runs none of it.

The API answers with good documents of which some values are exchanged for others, of any type and in the extreme.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import tinyhtml5
from clearml_localserver import web
from clearml_localserver.errors import ApiError
from clearml_localserver.rules.events import name_hash
from clearml_localserver.web.replies import CHANGED, MANY, REPLIES
from clearml_localserver.web.views import compare, links, reports
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tinyhtml5.parser import HTMLParser

from tests.unit.localserver.web_app import ask, make_app

ID = "0123456789abcdef0123456789abcdef"
MARK = "<xss-mark onerror=alert(1)>"
TEXTS = [
    "",
    " ",
    MARK,
    f'"{MARK}',
    f"</script></textarea></title></svg>{MARK}",
    "javascript:alert(1)",
    "data:text/html,<xss-mark>",
    "http://[bad",
    "http://127.0.0.1:99999/x",
    "http://127.0.0.1:8081/a%22b\\c?d#e'\"",
    "37648-09-30T00:00:00",
    "9999-12-31T23:59:59-14:00",
    "0001-01-01T00:00:00+14:00",
    "\x00\x01\x1b\x7f\x85\ud800\udfff\ufdd0\ufffe\U0001ffff",
    "e\u0301\u00e9\u202e\u200b%\\\"'\n\r\t&amp;",
    "x" * 300,
    "[" * 3000,
    "{" * 3000,
    "9" * 5000,
    '{"a": {"parents": 1}}',
    json.dumps({MARK: {"parents": [MARK, "b"], "job_id": 5, "status": "x y", "queue": {}}, "b": None, "c": [1]}),
    '{"\\ud800": {"parents": ["\\ud800"], "status": "\\u0000"}}',
    '{"0": {"job_id": "a", "parents": ["0"], "job_size": "big"}, "1": {"parents": {}}}',
    '{"data": [NaN, {"type": {}}], "layout": []}',
    "File Name, File Size, Hash\n, , \na\n" + "9" * 5000 + ", " + "9" * 5000 + ", x",
]
VALUES = [None, True, False, 0, -1, 2**63 - 1, -(2**63), 1e308, -1e308, float("nan"), float("inf"), 0.1, *TEXTS, [], {}]
values = st.sampled_from(VALUES) | st.recursive(
    st.sampled_from(VALUES) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(TEXTS) | st.text(max_size=3), inner),
    max_leaves=6,
)

NAMED = {"id": ID, "name": "named"}
GRAPH = {"first": {"parents": [], "job_id": ID, "status": "completed"}, "second": {"parents": ["first"], "queue": "q"}}
VERSIONS = {"0": {"job_id": ID, "name": "v", "version": "1", "parents": [], "status": "completed", "job_size": 5}}
TASK = {
    "id": ID,
    "name": "a task",
    "type": "controller",
    "status": "in_progress",
    "status_reason": "a reason",
    "status_message": "a message",
    "status_changed": "2026-11-23T12:00:00+00:00",
    "comment": "a comment",
    "tags": ["tag"],
    "system_tags": ["pipeline", "dataset"],
    "created": "2026-11-23T12:00:00+00:00",
    "started": "2026-11-23T12:00:00+00:00",
    "completed": 1.7e9,
    "last_update": 1.7e12,
    "last_iteration": 5,
    "last_worker": "worker",
    "project": NAMED,
    "parent": NAMED,
    "user": NAMED,
    "runtime": {"_pipeline_hash": "x", "version": "1", "progress": "5", "ds_file_count": 5, "ds_total_size": 5,
                "ds_link_count": 1, "ds_total_size_compressed": 1, "ds_change_add": 1},
    "hyperparams": {"Args": {"a": {"value": "1", "type": "int", "description": "about"}},
                    "properties": {"version": {"value": "1"}}, "General": {"b": {"value": "x\ny"}}},
    "configuration": {"Pipeline": {"value": json.dumps(GRAPH), "type": "json"},
                      "Dataset Content": {"value": "File Name, File Size, Hash\na, 5, x"},
                      "Dataset Struct": {"value": json.dumps(VERSIONS)}, "other": {"value": '{"a": 1}'}},
    "script": {"repository": "r", "branch": "b", "version_num": "v", "tag": "t", "binary": "python",
               "entry_point": "e.py", "working_dir": "w", "diff": "d", "requirements": {"pip": "numpy"}},
    "last_metrics": {name_hash("m"): {name_hash("v"): {"metric": "m", "variant": "v", "value": 0.5, "min_value": 0,
                                                       "max_value": 1}}},
    "container": {"image": "i", "arguments": "a", "setup_shell_script": "s"},
    "output": {"destination": "http://x/"},
    "execution": {"queue": NAMED, "artifacts": [
        {"key": "k", "type": "t", "mode": "output", "uri": "http://127.0.0.1:8081/a b", "hash": "h", "content_size": 5,
         "timestamp": 1.7e9, "type_data": {"preview": "{}", "content_type": "c"}, "display_data": [["a", "b"]]}]},
    "models": {"input": [{"name": "m", "model": ID}], "output": [{"name": "m", "model": ID}]},
}  # fmt: skip
TABLE = {"type": "table", "header": {"values": ["h"]}, "cells": {"values": [["c"]]}}
EVENT = {"timestamp": 1.7e12, "level": "warning", "msg": "m", "metric": "m", "variant": "v", "iter": 5,
         "url": "http://127.0.0.1:8081/a.png", "plot_str": json.dumps({"data": [TABLE]})}  # fmt: skip
PROJECT = {"id": ID, "name": "a/.pipelines/b", "description": "d", "tags": ["t"], "system_tags": ["pipeline"],
           "last_update": 1.7e9, "stats": {"active": {"status_count": {"failed": 5}}}}  # fmt: skip
MODEL = {"id": ID, "name": "m", "uri": "http://127.0.0.1:8081/m", "framework": "f", "comment": "c", "ready": True,
         "created": 1.7e9, "tags": ["t"], "system_tags": ["archived"], "project": NAMED, "task": NAMED,
         "labels": {"a": 1}, "metadata": {"k": {"key": "k", "value": "v"}}, "design": {"design": "{}"}}  # fmt: skip
QUEUE = {"id": ID, "name": "q", "system_tags": ["default"], "entries": [{"task": NAMED, "added": 1.7e9}],
         "workers": [{"name": "w"}]}  # fmt: skip
WORKER = {"id": "w", "ip": "1.2.3.4", "task": NAMED, "queues": [{"id": ID, "name": "q", "num_tasks": 5}],
          "register_time": 1.7e9, "last_activity_time": 1.7e9}  # fmt: skip
REPORT = {"id": ID, "name": "r", "status": "created", "comment": "c", "tags": ["t"], "system_tags": ["archived"],
          "created": 1.7e9, "last_update": 1.7e9, "project": NAMED, "user": NAMED,
          "report": f"# h\n\n![i](http://127.0.0.1:8081/a.png)\n\n"
                    f"```scalars\nmetric: m\ntasks: {ID}\naxis: clock\n```\n\n"
                    "```tasks\nproject: a\n```\n\n<iframe src='/widgets/?type=plot&objects=x'></iframe>"}  # fmt: skip
STATS = [
    {"metric": name, "stats": [{"aggregation": "avg", "dates": [1.7e12], "values": [5]}]}
    for name in ("cpu_usage", "memory_used", "memory_free")
]
PERSON = {"id": ID, "name": "p", "role": "user", "created": "2026-11-23T12:00:00+00:00", "company": NAMED}
WORLD: dict[str, Any] = {
    "tasks.get_all_ex": {"tasks": [TASK, TASK | {"id": ID[::-1], "status": "failed"}]},
    "reports.get_all_ex": {"tasks": [REPORT]},
    "reports.get_task_data": {
        "tasks": [TASK],
        "scalar_metrics_iter_histogram": {
            "m": {"v": {ID: {"x": [1, 2], "y": [0.5, 1], "low": [0, 1], "high": [1, 2]}}}
        },
    },
    "reports.get_tags": {"tags": ["t"]},
    "organization.get_tags": {"tags": ["xy", "tag"]},
    "organization.get_entities_count": {"tasks": 2},
    "auth.create_credentials": {"credentials": {"access_key": "k", "secret_key": "s", "label": "l"}},
    "auth.get_credentials": {
        "credentials": [
            {
                "access_key": ID,
                "label": "l",
                "role": "user",
                "user": ID,
                "last_used": "2026-11-23T12:00:00+00:00",
                "last_used_from": "1.2.3.4",
            }
        ]
    },
    "server.info": {"version": "2", "api_version": "2.3"},
    "users.get_all_ex": {"users": [PERSON]},
    "users.get_current_user": {"user": PERSON},
    "users.get_preferences": {
        "preferences": {
            "localserver": {
                "density": "dense",
                "theme": "dark",
                "seen": "2026-11-23T12:00:00+00:00",
                "followed": [ID],
                "views": {ID: {"k": {"name": "a view", "query": "q=x"}}},
            }
        }
    },
    "projects.get_hyper_parameters": {"parameters": [{"section": "Args", "name": "a"}]},
    "projects.get_hyperparam_values": {"values": ["1", "x"]},
    "projects.get_unique_metric_variants": {"metrics": [{"metric": "m", "variant": "v"}]},
    "tasks.get_by_id": {"task": {"script": TASK["script"], "container": TASK["container"]}},
    "tasks.get_types": {"types": ["training"]},
    "tasks.get_configurations": {"configurations": [{"configuration": [{"value": json.dumps(VERSIONS)}]}]},
    "projects.get_all_ex": {"projects": [PROJECT, PROJECT | {"id": ID[::-1], "name": "a"}]},
    "projects.get_by_id": {"project": PROJECT},
    "projects.validate_delete": {"tasks": 1, "models": 1, "pipelines": 0, "datasets": 1, "reports": 0},
    "models.get_all_ex": {"models": [MODEL, MODEL | {"id": ID[::-1], "design": {"design": '{"a": 1}'}}]},
    "models.get_by_id": {"model": MODEL},
    "queues.get_all": {"queues": [QUEUE]},
    "queues.get_all_ex": {"queues": [QUEUE]},
    "queues.get_queue_metrics": {
        "queues": [{"queue": ID, "dates": [1.7e12], "avg_waiting_times": [5], "queue_lengths": [1]}]
    },
    "workers.get_activity_report": {
        "total": {"dates": [1.7e12], "counts": [1]},
        "active": {"dates": [1.7e12], "counts": [1]},
    },
    "workers.get_all": {"workers": [WORKER]},
    "workers.get_stats": {"workers": [{"worker": "w", "metrics": STATS}]},
    "serving.get_endpoints": {
        "endpoints": [
            {
                "endpoint": "e",
                "model": "m",
                "url": "http://m/e",
                "instances": 1,
                "requests": 5,
                "requests_min": 0.5,
                "latency_ms": 5,
                "last_update": "2026-11-23T12:00:00+00:00",
            }
        ]
    },
    "serving.get_loading_instances": {
        "instances": [{"id": "c", "endpoint": "e", "model": "m", "last_update": "2026-11-23T12:00:00+00:00"}]
    },
    "serving.get_endpoint_details": {
        "endpoint": "e",
        "model": "m",
        "url": "http://m/e",
        "model_source": "s",
        "model_version": "1",
        "input_type": "t",
        "input_size": "5",
        "uptime_sec": 5,
        "instances": [
            {
                "id": "c",
                "requests": 5,
                "requests_min": 0.5,
                "latency_ms": 5,
                "uptime_sec": 5,
                "last_update": "2026-11-23T12:00:00+00:00",
                "reference": [{"type": "model", "value": ID}, {"type": "task", "value": ID}],
            }
        ],
    },
    "serving.get_endpoint_metrics_history": {"total": {"dates": [1.7e12], "values": [5]}},
    "events.get_task_log": {"events": [EVENT], "total": 5},
    "events.get_task_metrics": {"metrics": [{"metrics": ["m"]}]},
    "events.get_task_plots": {"plots": [EVENT, EVENT]},
    "events.get_task_single_value_metrics": {"tasks": [{"values": [{"metric": "m", "variant": "v", "value": 0.5}]}]},
    "events.get_multi_task_metrics": {"metrics": [{"metric": "m", "variants": ["v"]}]},
    "events.get_multi_task_plots": {"plots": {"m": {"v": {ID: {"1": {"plots": [EVENT]}}}}}},
    "events.multi_task_scalar_metrics_iter_histogram": {"metrics": {"m": {"v": {ID: {"x": [1, 2], "y": [0.5, 1]}}}}},
    "events.debug_images": {"metrics": [{"task": ID, "iterations": [{"iter": 5, "events": [EVENT]}]}]},
    "events.scalar_metrics_iter_histogram": {"m": {"v": {"x": [1, 2], "y": [0.5, 1]}}},
}
PATHS = [
    re.sub(r"\{action\}", "enqueue", re.sub(r"\{(?!action)\w+(:path)?\}", ID, path))
    for path, view in web.PAGES.items()
    if view not in (links.task_link, links.model_link, links.project_link)  # they read no document
]
PATHS += [f"/compare?ids={ID},{ID[::-1]},unknown&tab={tab}&all=1" for tab in compare.SHOWN]
PATHS += [
    f"/compare/models?ids={ID},{ID[::-1]}&all=1",
    f"/compare/scalars?ids={ID}&metric=m&variant=v&axis=clock",
    f"/projects/{ID}?col=last.m.v&col=hyperparams.Args.a&col=runtime.version&where=last.m.v>=0&where=hyperparams.Args.a<=1",
    f"/projects/{ID}?tag=t&tag=u&nottag=x&undo=action%3Drestore%26ids%3Da&notice=archive-many&changed=3",
    f"/selected/tasks/delete?ids={ID}",
    f"/selected/models/delete?ids={ID},{ID[::-1]},unknown",
    *(f"/reports/{ID}/{action}" for action in reports.ACTIONS),
    f"/tasks/{ID}/samples?iter=5&metric=m&variant=v&whole=1",
    f"/tasks/{ID}/pipeline?step=first",
    f"/tasks/{ID}/rerun?step=first",
    f"/selected/tasks/tag?ids={ID},{ID[::-1]},unknown",
]
PATHS += ["/", *(f"/tasks/{ID}/{name}" for name in ("abort", "clone")), f"/tasks/{ID}?_part=header,run", "/search?q=x"]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value in a document."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


PLACES = [path for path in places(WORLD) if len(path) > 1]


def exchange(world: Any, path: tuple[Any, ...], value: Any) -> None:
    """Put a copy of a value at a path; do nothing where an earlier exchange took the path away."""
    *parents, last = path
    for key in parents:
        if not _holds(world, key):
            return
        world = world[key]
    if isinstance(world, dict) or _holds(world, last):
        world[last] = copy.deepcopy(value)


def _holds(value: Any, key: Any) -> bool:
    if isinstance(value, list):
        return isinstance(key, int) and key < len(value)
    return isinstance(value, dict) and key in value


class Server:
    """One application for all tests, as it compiles its templates only once."""

    def __init__(self) -> None:
        self.world: dict[str, Any] = {}
        self.app = make_app(lambda name, data: copy.deepcopy(self.world.get(name, {})))


SERVER = Server()


def check(world: dict[str, Any], path: str) -> None:
    SERVER.world = world
    reply = ask(SERVER.app, path)
    assert reply.status_code < 500, path
    if not reply.headers.get("Content-Type", "").startswith("text/html"):
        return
    parser = HTMLParser(namespace_html_elements=False)
    tree = parser.parse(reply.text)
    assert parser.errors == [], (path, parser.errors[:3])
    for element in tree.iter():
        assert element.tag != "xss-mark", path
        for name, given_value in element.attrib.items():
            assert not str(name).startswith("on"), (path, name)
            if name in ("href", "src", "action", "formaction"):
                assert re.match(r"(?!\s*(javascript|data|vbscript):)", given_value, re.IGNORECASE), (path, given_value)


def test_the_world_of_these_tests_answers_all_that_pages_read() -> None:
    assert set(WORLD) == {name for name, shape in REPLIES.items() if shape not in (CHANGED, MANY)}


@pytest.mark.parametrize("path", PATHS)
def test_pages_of_good_documents_are_whole(path: str) -> None:
    check(WORLD, path)


@pytest.mark.parametrize("path", PATHS)
def test_pages_of_nothing_are_whole(path: str) -> None:
    check({}, path)


# Each value takes 1 s; the marked ones are of the same kinds, and in the examples below.
MARKS = dict.fromkeys((0, 3), pytest.mark.thorough) | dict.fromkeys((1, 2, 4), pytest.mark.slow)
EVERYWHERE = [pytest.param(value, marks=MARKS.get(at % 6, ())) for at, value in enumerate(VALUES)]


@pytest.mark.parametrize("value", EVERYWHERE, ids=lambda value: repr(value)[:20])
def test_pages_where_every_value_is_a_hostile_one(value: Any) -> None:
    # Types and status stay, so that every page shows as much as it can.
    world = copy.deepcopy(WORLD)
    for path in [path for path in PLACES if not isinstance(_at(WORLD, path), dict | list)]:
        if path[-1] not in ("id", "type", "system_tags"):
            exchange(world, path, value)
    for path in PATHS:
        check(world, path)


@pytest.mark.parametrize("value", [None, "text", [], {}, [["a"]]], ids=repr)
def test_an_exchange_may_take_the_place_of_the_next_one_away(value: Any) -> None:
    given_value = copy.deepcopy(value)
    for name, *path in {place[0]: place for place in sorted(PLACES, key=len)}.values():  # the deepest of each reply
        for depth in range(len(path)):
            world = {name: copy.deepcopy(WORLD[name])}
            exchange(world, (name, *path[:depth]), value)
            exchange(world, (name, *path), "x")
    assert value == given_value


def _at(world: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        world = world[key]
    return world


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(PLACES), values), min_size=1, max_size=6), st.sampled_from(PATHS))
def test_pages_of_documents_of_any_shape(changes: list[tuple[tuple[Any, ...], Any]], path: str) -> None:
    world = copy.deepcopy(WORLD)
    for place, value in changes:
        exchange(world, place, value)
    check(world, path)


def test_an_error_of_the_api_is_a_page_with_its_words() -> None:
    def refuse(name: str, data: dict[str, Any]) -> Any:
        raise ApiError(400, 5, MARK)

    reply = ask(make_app(refuse), "/projects")
    assert reply.status_code == 400
    assert MARK not in reply.text and tinyhtml5.parse(reply.text) is not None
