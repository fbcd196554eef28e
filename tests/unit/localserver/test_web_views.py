"""What views make of documents, without a server."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from clearml_localserver.web import console_lines, text
from clearml_localserver.web.environment import TEMPLATES
from clearml_localserver.web.plotly_file import plotly_script
from clearml_localserver.web.views import actions, launch, metrics
from clearml_localserver.web.views.datasets import title as dataset_title
from clearml_localserver.web.views.home import telling
from clearml_localserver.web.views.links import TABS as LINKED_TABS
from clearml_localserver.web.views.pipelines import title as pipeline_title
from clearml_localserver.web.views.projects import tree
from clearml_localserver.web.views.table_query import order_by
from clearml_localserver.web.views.tasks import (
    TABS,
    DatasetFile,
    file_lines,
    label_versions,
    nearest,
    read_file,
    read_struct,
)


def test_plotly_comes_with_its_wheel() -> None:
    assert plotly_script() is not None


@pytest.mark.parametrize("value", [{"a": "</script><script>alert(1)</script>"}, ["<!--", "&amp;", "\u2028"], None])
def test_json_in_a_page_cannot_end_its_element(value: Any) -> None:
    written = str(text.json_script(value))
    assert "<" not in written and ">" not in written and "&" not in written
    assert json.loads(written) == value


@pytest.mark.parametrize(
    ("type_", "value", "fine"),
    [
        ("int", "42", True),
        ("int", " -7 ", True),
        ("int", "4.2", False),
        ("int", "", False),
        ("float", "1e-3", True),
        ("float", "abc", False),
        ("bool", "False", True),
        ("bool", "perhaps", False),
        ("str", "", True),
        ("", "anything", True),
    ],
)
def test_values_are_checked_against_the_parameters_type(type_: str, value: str, fine: bool) -> None:
    parameter = launch.Parameter("Args", "x", value, type_)
    parameter.check()
    assert (parameter.error == "") is fine


def test_the_form_fills_parameters_by_section_and_name() -> None:
    task = {
        "hyperparams": {
            "pipeline": {"default_queue": {"value": "default", "type": "str"}},
            "Args": {"v": {"value": "1.2", "type": "str", "description": "Version"}, "n": {"value": None}},
            "properties": {"version": {"value": "1"}},
        }
    }
    found = launch.filled(launch.parameters_of(task), {"Args/v": "1.1", "Args/n": "a\r\nb", "x/y": "z"})
    assert [(p.section, p.name, p.value, p.description) for p in found] == [
        ("Args", "v", "1.1", "Version"),
        ("Args", "n", "a\nb", ""),
        ("pipeline", "default_queue", "default", ""),
    ]


def test_a_form_keeps_what_nobody_touched_and_tells_every_parameter_apart() -> None:
    values = {"a\r\nb": "1", "cc": "x\r\ny", "d": "\x01\x00", 'q"%\\\n': "\u00e9e\u0301", "n": "5000" * 2000}
    items = {name: {"value": value, "type": "str"} for name, value in values.items()}
    task = {"hyperparams": {"a/b": {"c": {"value": "1", "type": "int"}}, "a": {"b/c": {"value": "2"}, **items}}}
    parameters = launch.parameters_of(task)
    assert len({parameter.key for parameter in parameters}) == 7
    assert all(parameter.key.isascii() and parameter.key.isprintable() for parameter in parameters)
    sent = {parameter.key: text.visible(parameter.value).replace("\r\n", "\n") for parameter in parameters}
    assert not any(parameter.changed for parameter in launch.filled(parameters, sent))
    assert {parameter.name: parameter.value for parameter in parameters if parameter.name in values} == values
    changed = launch.filled(parameters, sent | {parameters[-1].key: "many"})
    assert [(p.name, p.error) for p in changed if p.changed] == [("c", "'many' is not of type int")]


def test_of_very_many_parameters_the_first_are_in_the_form() -> None:
    items = {f"p{i}": {"value": "x"} for i in range(30_000)} | {"long": {"value": "x" * 10**6}}
    assert len(launch.parameters_of({"hyperparams": {"Args": items}})) == launch.MAX_EDITED


@pytest.mark.parametrize(
    ("status", "extra", "possible"),
    [
        ("created", {}, {"enqueue", "clone", "archive"}),
        ("queued", {}, {"abort", "dequeue", "clone"}),
        ("in_progress", {}, {"abort", "clone"}),
        ("in_progress", {"status_message": "stopping"}, {"force-abort", "clone"}),
        ("stopped", {}, {"enqueue", "reset", "clone", "archive", "publish"}),
        ("failed", {}, {"enqueue", "reset", "clone", "archive"}),
        ("completed", {}, {"reset", "clone", "archive", "publish"}),
        ("published", {}, {"clone", "archive"}),
        ("completed", {"system_tags": ["archived"]}, {"reset", "clone", "unarchive", "publish"}),
    ],
)
def test_what_can_be_done_to_a_task(status: str, extra: dict[str, Any], possible: set[str]) -> None:
    assert set(actions.actions_of({"status": status} | extra)) == possible


def test_no_action_shares_its_address_with_a_tab() -> None:
    assert not set(actions.ACTIONS) & (set(TABS) | {"run"})


def test_linked_tabs_exist() -> None:
    assert set(LINKED_TABS.values()) <= set(TABS)


def test_files_of_a_dataset_version() -> None:
    head = "File Name (3 files), File Size (total 1 KB), Hash (SHA2)\n"
    text = head + "a.csv, 10, abc\nb, with comma.csv, 20, \ns3://x/y, , "
    assert [read_file(line) for line in file_lines(text)] == [
        DatasetFile("a.csv", 10, "abc"),
        DatasetFile("b, with comma.csv", 20, ""),
        DatasetFile("s3://x/y", None, ""),
    ]
    assert list(file_lines("")) == list(file_lines("header")) == []


@pytest.mark.parametrize("text", ["", "x", "[]", "[" * 5000, '{"0": 1}', '{"0": {"job_id": null, "parents": 1}}'])
def test_a_dataset_structure_that_cannot_be_read_is_empty(text: str) -> None:
    assert read_struct(text) == {}


def test_parents_of_dataset_versions_are_task_ids() -> None:
    stored = {"0": {"job_id": "a", "parents": []}, "1": {"job_id": "b", "parents": ["0"], "version": "1.1"}}
    assert read_struct(json.dumps(stored))["b"]["parents"] == ["a"]
    stored["1"]["parents"] = ["0", "9", 5]
    assert read_struct(json.dumps(stored))["b"]["parents"] == ["a"], "unknown parents are left out"


def test_projects_are_a_tree_even_where_a_parent_is_missing() -> None:
    names = [
        "Amazon reviews/.pipelines/DataPrepare",
        "zoo",
        "Amazon reviews",
        "Amazon reviews/.pipelines",
        "lone/child",
    ]
    roots = tree([{"id": name, "name": name, "system_tags": []} for name in names])
    assert [(node.label, node.depth) for node in roots] == [("Amazon reviews", 0), ("child", 0), ("zoo", 0)]
    pipelines = roots[0].children[0]
    assert (pipelines.label, pipelines.kind) == ("Pipelines", "pipelines")
    assert [child.label for child in pipelines.children] == ["DataPrepare"]


@pytest.mark.parametrize(
    ("key", "order"),
    [("name", "name"), ("-created", "-created"), ("-updated", "-last_update"), ("company", "-last_update")],
)
def test_only_known_sort_keys_reach_the_api(key: str, order: str) -> None:
    assert order_by(key) == order


@pytest.mark.parametrize(
    ("project", "pipeline", "dataset"),
    [
        ("Amazon reviews/.pipelines/DataPrepare", ("DataPrepare", "Amazon reviews"), None),
        (".pipelines/alone", ("alone", ""), None),
        ("Amazon reviews/.datasets/Texts", None, ("Texts", "Amazon reviews")),
        ("Just a project", ("Just a project", ""), ("Just a project", "")),
    ],
)
def test_names_without_the_hidden_projects(project: str, pipeline: Any, dataset: Any) -> None:
    assert pipeline is None or pipeline_title(project) == pipeline
    assert dataset is None or dataset_title(project) == dataset


def run(id_: str, project: str, **arguments: str) -> dict[str, Any]:
    parameters = {name: {"name": name, "value": value} for name, value in arguments.items()}
    return {"id": id_, "project": {"id": project}, "hyperparams": {"Args": parameters}}


def test_of_each_run_is_told_what_differs() -> None:
    told = telling(
        [
            run("1", "p", name="x", version="1.1", seed="7"),
            run("2", "p", name="x", version="1.2", seed="7"),
            run("3", "alone", a="1", b="2", c="3", d="4", e="5"),
            {"id": "4", "project": None},
        ]
    )
    assert told["1"] == [("version", "1.1")]
    assert told["2"] == [("version", "1.2")]
    assert told["3"] == [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]
    assert told["4"] == []


def test_of_a_long_lineage_the_nearest_versions_are_drawn() -> None:
    chain = {str(i): {"parents": [str(i - 1)] if i else []} for i in range(100)}
    assert list(nearest(chain, ["50"])) == [str(i) for i in range(27, 51)]
    assert list(nearest(chain, ["2", "1"])) == ["0", "1", "2"]
    assert nearest({"a": {"parents": ["a", "unknown"]}}, ["a", "b"]) == {"a": {"parents": ["a", "unknown"]}}
    assert nearest({}, ["a"]) == {}


def test_versions_are_labelled_with_todays_status_and_foreign_names() -> None:
    stored = {"name": "Texts", "status": "in_progress", "job_size": 2048, "parents": []}
    labelled = label_versions(
        {"a": stored, "b": stored | {"name": "Other", "job_size": 0}}, "Texts", {"a": "completed"}
    )
    assert (labelled["a"]["line"], labelled["a"]["status"]) == ("2.0 KB", "completed")
    assert (labelled["b"]["line"], labelled["b"]["status"]) == ("Other", "in_progress")


def event(at: int, msg: str = "x") -> dict[str, Any]:
    return {"timestamp": at, "msg": msg, "level": "info"}


def test_console_events_are_shown_line_by_line_with_keys_of_their_own() -> None:
    events = [event(1, "a\nb\n"), event(1, "a\nb\n"), event(2, "\x1b[31mred\nstill\x1b[0m")]
    lines = console_lines.lines_of(events, console_lines.PIECE, "/whole")
    assert [line["html"] for line in lines] == [
        "a", "b", "a", "b", '<span class="a-red">red</span>', '<span class="a-red">still</span>',
    ]  # fmt: skip
    assert len({line["key"] for line in lines}) == 6


def test_the_newest_events_never_part_those_of_one_time() -> None:
    events = [event(1), event(2), event(2), event(2), event(3, "a\nb\nc")]
    assert console_lines.newest(events, console_lines.Room(9, 4, 99)) == events[1:]
    assert console_lines.newest(events, console_lines.Room(9, 1, 99)) == events[4:]
    assert console_lines.newest(events, console_lines.Room(9, 9, 1)) == events[4:]
    assert console_lines.newest([], console_lines.PIECE) == []
    assert console_lines.oldest(events, console_lines.Room(9, 1, 99)) == events[:1]
    assert console_lines.oldest(events, console_lines.Room(9, 2, 99)) == events[:4]
    assert console_lines.oldest([], console_lines.PIECE) == []


def test_of_one_event_with_endless_lines_the_last_are_shown() -> None:
    room = console_lines.Room(9, 3, 99)
    message = "\n".join(str(number) for number in range(100_000))
    lines = [line["html"] for line in console_lines.lines_of([event(7, message)], room, "/whole")]
    assert lines[0] == '<a class="cut" href="/whole?at=7">… earlier lines of the same moment</a>'
    assert lines[1:] == ["99997", "99998", "99999"]
    assert len(console_lines.lines_of([event(7, "y" * 10**6)], room, "/whole")) == 1
    many = [event(7, "y" * 60)] * 5
    assert [line["html"][:9] for line in console_lines.lines_of(many, room, "/whole")] == [
        "<a class=",
        "y" * 9,
        "y" * 9,
    ]
    assert [line["html"] for line in console_lines.lines_of([event(7, "\na\n\nb")], console_lines.PIECE, "")] == [
        "",
        "a",
        "",
        "b",
    ]


@pytest.mark.parametrize(
    ("figure", "compiles"),
    [
        ('{"data": [{"type": "scattergl"}]}', True),
        (
            '{"data": [{"type": "bar"}], "layout": {"template": {"data": {"scattergl": [{"type": "scattergl"}]}}}}',
            False,
        ),
        ('{"data": null}', False),
        ("not json", False),
        ("[]", False),
    ],
)
def test_which_figures_compile_code(figure: str, compiles: bool) -> None:
    assert metrics.compiles(figure) is compiles


def test_a_shown_command_quotes_what_it_names_for_the_shell() -> None:
    command = re.compile(r"(?:clearml-agent|clearml-localserver|CLEARML_CONFIG_FILE=|\./task )[^<\n]*?\{\{ (.*?) \}\}")
    found = [name for path in TEMPLATES.glob("*.html") for name in command.findall(path.read_text())]
    assert len(found) > 5 and [name for name in found if not name.endswith("| shell")] == ["version"]
