"""Tables of tasks over HTTP: columns, conditions, tags, named views, files, and changes to selected rows."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import httpx
import pytest
from clearml_localserver.pytest_plugin import ClearmlServer

from tests.api_client import ApiClient
from tests.integration.web.pages import HOSTILE, NO_ID, Web, filled, make_task, status_of

pytestmark = pytest.mark.integration

ODD = 'dots.and "quotes", 100 %'
"""Name of a metric: nothing in it may be mistaken for a part of an address."""


@dataclass
class World:
    """A project with three tasks that differ in a parameter and in a metric."""

    project: str
    tasks: dict[str, str]

    @property
    def path(self) -> str:
        return f"/projects/{self.project}"


def parameters(**values: object) -> dict[str, object]:
    return {"Args": {name: {"section": "Args", "name": name, "value": str(value)} for name, value in values.items()}}


@pytest.fixture
def world(api: ApiClient) -> World:
    project = api("projects.create", name=f"Tables {uuid4().hex[:6]}")["id"]
    tasks = {}
    for name, lr, losses, tags in (
        ("first", 0.1, [3.0, 1.0, 2.0], ["red", "round"]),
        ("second", 0.01, [5.0, 4.0], ["red"]),
        ("third", 0.001, [], [HOSTILE]),
    ):
        task = make_task(api, name, project=project, tags=tags, hyperparams=parameters(lr=lr, same=7))
        api("tasks.edit_runtime", task=task, runtime={"version": f"1.{len(tasks)}"}, force=True)
        for number, value in enumerate(losses):
            for metric in ("loss", ODD):
                event = {"task": task, "metric": metric, "variant": "train", "iter": number, "value": value}
                api("events.add", type="training_stats_scalar", **event)
        tasks[name] = task
    return World(project, tasks)


def names(page: str) -> list[str]:
    return re.findall(r'class="name" href="/tasks/[^"]+">([^<]+)</a>', page)


def headings(page: str) -> list[str]:
    return [
        html.unescape(re.sub(r"<[^>]+>", "", cell)).strip(" ↑↓\n")
        for cell in re.findall(r"<th .*?</th>", page, re.DOTALL)
    ][1:]


def test_a_table_starts_with_what_differs_between_its_tasks(web: Web, world: World) -> None:
    shown = headings(web.get(world.path))
    assert shown == ["Name", "Status", "Tags", "lr", f"{ODD} train", "loss train", "Run time", "Updated"]
    assert "same" not in shown


def test_columns_are_chosen_and_ordered_by_the_address(web: Web, world: World) -> None:
    columns = ["max.loss.train", "min.loss.train", "hyperparams.Args.same", "runtime.version", "commit"]
    page = web.get(world.path, params={"col": columns, "order": "-max.loss.train"})
    assert headings(page) == ["Name", "max loss train", "min loss train", "same", "version", "Commit"]
    assert names(page) == ["second", "first", "third"]
    assert re.search(r'title="3.0">3</td>\s*<td class="num" title="1.0">1<', page), (
        "greatest and least value of one row"
    )
    assert names(web.get(world.path, params={"col": columns, "order": "hyperparams.Args.lr"})) == [
        "third",
        "second",
        "first",
    ]
    odd = web.get(world.path, params={"order": "last.dots%2Eand %22quotes%22, 100 %25.train"})
    assert names(odd) == ["first", "second", "third"]


@pytest.mark.parametrize(
    ("conditions", "found"),
    [
        (["last.loss.train>=3"], {"second"}),
        (["min.loss.train<=4", "max.loss.train<=3"], {"first"}),
        (["hyperparams.Args.lr<=0.01"], {"second", "third"}),
        (["hyperparams.Args.lr<=0.05", "hyperparams.Args.lr>=0.005"], {"second"}),
        (["hyperparams.Args.lr=0.1"], {"first"}),
        (["hyperparams.Args.lr!=0.1"], {"second", "third"}),
        (["hyperparams.Args.lr>=100"], set()),
        (["last.loss.train!=2"], {"second", "third"}),
        (["last.loss.train!=2", "last.loss.train>=1"], {"second"}),
        (["iteration!=2"], {"second", "third"}),
        (["runtime.version=1.1"], {"second"}),
    ],
)
def test_tasks_are_filtered_by_any_column(web: Web, world: World, conditions: list[str], found: set[str]) -> None:
    assert set(names(web.get(world.path, params={"where": conditions}))) == found


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"where": "nonsense"}, "“nonsense” is not a condition"),
        ({"where": "last.loss.train>=many"}, "&#39;many&#39; is not a number"),
        ({"where": "last.loss>=1"}, "there is no column"),
        ({"where": "runtime.version>=1"}, "is compared by = and !="),
        ({"where": "name=x"}, "use the fields above the table"),
        ({"where": "x" * 300}, "is not a condition"),
        ({"col": "last.loss"}, "There is no column"),
        ({"order": "-nonsense"}, "There is no column &#39;nonsense&#39; to sort by"),
        ({"status": "happy"}, "There is no status &#39;happy&#39;"),
        ({"order": 'hyperparams.Args.a"b'}, "invalid field"),
    ],
)
def test_an_address_that_cannot_be_understood_says_why_and_lists_nothing(
    web: Web, world: World, query: dict[str, str], message: str
) -> None:
    page = web.get(world.path, status=400, params=query)
    assert message in page
    assert names(page) == []


def test_the_filter_form_adds_its_condition_to_the_address(web: Web, world: World) -> None:
    form = {
        "f": "hyperparams.Args.lr",
        "op": "<=",
        "v": "0.05",
        "where": "last.loss.train>=0",
        "col": "hyperparams.Args.lr",
    }
    location = web.http.get(world.path, params=form).headers["Location"]
    asked = parse_qs(urlsplit(location).query)
    assert asked == {"col": ["hyperparams.Args.lr"], "where": ["last.loss.train>=0", "hyperparams.Args.lr<=0.05"]}
    assert names(web.get(location)) == ["second"]


def test_columns_are_put_in_order_by_their_form(web: Web, world: World) -> None:
    form = web.get(f"{world.path}/columns")
    for key in ("last.loss.train", "min.loss.train", "hyperparams.Args.same", "runtime.version", "commit"):
        assert f'value="{key}"' in form
    query = {"col": ["status", "tags", "commit"], "at:status": "2", "at:tags": "1"}
    page = web.get(world.path, params=query, follow_redirects=True)
    assert headings(page) == ["Name", "Tags", "Status", "Commit"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"tag": ["red", "round"]}, {"first"}),
        ({"tag": ["round", HOSTILE], "tags": "any"}, {"first", "third"}),
        ({"nottag": ["red"]}, {"third"}),
        ({"tag": ["red"], "nottag": ["round"]}, {"second"}),
        ({"tag": ["-red"]}, set()),
    ],
)
def test_tags_are_filtered_by_all_any_and_not(
    web: Web, world: World, query: dict[str, list[str]], found: set[str]
) -> None:
    page = web.get(world.path, params=query)
    assert set(names(page)) == found
    assert "<script>alert" not in page


def test_links_of_a_table_keep_all_of_its_address(web: Web, world: World) -> None:
    page = web.get(world.path, params={"status": ["created", "failed"], "tag": "red", "size": "1"})
    following = html.unescape(re.search(r'rel="next" href="([^"]+)"', page)[1])  # type: ignore[index]
    assert parse_qs(urlsplit(following).query)["status"] == ["created", "failed"]
    assert len(names(web.get(following))) == 1
    assert "2 tasks, 1 to 1 shown" in page


def test_a_table_is_fetched_as_csv_and_json(web: Web, world: World, api: ApiClient) -> None:
    make_task(api, "=HYPERLINK(1)", project=world.project, hyperparams=parameters(lr=-0.5), tags=["a", "b"])
    query = {"col": ["last.loss.train", "hyperparams.Args.lr", "tags"], "order": "name", "size": "1"}
    rows = json.loads(web.get(f"{world.path}/tasks.json", params=query))
    assert [(row["name"], row["last.loss.train"], row["hyperparams.Args.lr"]) for row in rows] == [
        ("=HYPERLINK(1)", None, "-0.5"),
        ("first", 2.0, "0.1"),
        ("second", 4.0, "0.01"),
        ("third", None, "0.001"),
    ]
    lines = list(csv.reader(io.StringIO(web.get(f"{world.path}/tasks.csv", params=query))))
    assert lines[0] == ["id", "name", "last.loss.train", "hyperparams.Args.lr", "tags"]
    assert lines[1][1:] == ["'=HYPERLINK(1)", "", "-0.5", "a, b"], "a formula is text in a spreadsheet"
    web.get(f"{world.path}/tasks.csv?where=nonsense", status=400)


def test_a_view_is_kept_under_a_name_until_it_is_forgotten(web: Web, world: World, api: ApiClient) -> None:
    query = "col=hyperparams.Args.lr&where=hyperparams.Args.lr%3C%3D0.01"
    assert web.post(f"{world.path}/views", name=HOSTILE, query=query).headers["Location"].startswith(world.path)
    page = web.get(world.path)
    link = html.unescape(re.search(r'<div class="view"><a href="([^"]+)"', page)[1])  # type: ignore[index]
    assert "<script>alert" not in page
    assert headings(web.get(link)) == ["Name", "lr"]
    assert set(names(web.get(link))) == {"second", "third"}
    key = re.search(r'name="forget" value="([^"]+)"', page)[1]  # type: ignore[index]
    web.post(f"{world.path}/views", forget=key)
    assert "forget" not in web.get(world.path)
    refused = web.post(f"{world.path}/views", name="x" * 300, query="")
    assert refused.status_code == 400 and "at most 100 characters; this one has 300" in refused.text


def test_density_is_kept_for_the_person(web: Web, world: World) -> None:
    reply = web.post("/preferences/density", density="dense", back=world.path)
    assert reply.headers["Location"] == world.path
    assert '<div class="live dense"' in web.get(world.path)
    web.post("/preferences/density", density="", back="https://elsewhere.example/")
    assert '<div class="live"' in web.get(world.path)


def ids(world: World, *wanted: str) -> str:
    return ",".join(world.tasks[name] for name in wanted)


def test_selected_tasks_are_archived_and_the_undo_restores_them(web: Web, world: World, api: ApiClient) -> None:
    asked = web.get("/selected/tasks/archive", params={"ids": ids(world, "first", "second"), "back": world.path})
    assert "Archive 2 tasks?" in asked and "first" in asked and "third" not in asked
    location = web.post("/selected/tasks/archive", ids=ids(world, "first", "second"), back=world.path).headers[
        "Location"
    ]
    page = web.get(location)
    assert "Archived: 2." in page
    assert names(page) == ["third"]
    form = re.search(r'<div class="undo"><form method="post" action="([^"]+)">.*?name="ids" value="([^"]+)"', page)
    assert form is not None
    assert web.post(form[1], ids=form[2], back=world.path).status_code == 303
    assert set(names(web.get(world.path))) == {"first", "second", "third"}


def test_selected_tasks_go_through_a_queue(web: Web, world: World, api: ApiClient, queue: str) -> None:
    both = ids(world, "first", "second")
    assert web.post("/selected/tasks/enqueue", ids=both, queue=queue).status_code == 303
    assert len(api("queues.get_by_id", queue=queue)["queue"]["entries"]) == 2
    web.post("/selected/tasks/dequeue", ids=world.tasks["first"])
    web.post("/selected/tasks/abort", ids=world.tasks["second"])
    assert [status_of(api, task) for task in both.split(",")] == ["created", "stopped"]


def test_a_change_of_which_some_fail_names_each(web: Web, world: World, api: ApiClient) -> None:
    api("tasks.started", task=world.tasks["first"])
    api("tasks.completed", task=world.tasks["first"])
    reply = web.post("/selected/tasks/publish", ids=f"{ids(world, 'first', 'second')},{NO_ID}", back=world.path)
    assert reply.status_code == 200
    assert "Published: 1." in reply.text and "2 tasks were refused" in reply.text
    assert names(reply.text) == [NO_ID, "second"]
    assert "There is no such task" in reply.text
    assert status_of(api, world.tasks["first"]) == "published"


def test_selected_tasks_that_a_change_leaves_as_they_are_are_named_and_not_counted(
    web: Web, world: World, api: ApiClient, queue: str
) -> None:
    both = ids(world, "first", "second")
    for action, why in (
        ("dequeue", "It waits in no queue"),
        ("abort", "It neither waits nor runs"),
        ("restore", "It is not archived"),
    ):
        asked = web.get(f"/selected/tasks/{action}?ids={both}")
        assert f"2 of them are left as they are: {why[0].lower()}{why[1:]}." in asked
        reply = web.post(f"/selected/tasks/{action}", ids=both, back=world.path)
        assert "nothing was done" in reply.text and reply.text.count(why) == 2 and "Undo" not in reply.text, action
    api("tasks.archive_many", ids=[world.tasks["first"]])
    reply = web.post("/selected/tasks/archive", ids=both, back=world.path)
    assert "Archived: 1." in reply.text and "It is archived already" in reply.text
    assert f'name="ids" value="{world.tasks["second"]}"' in reply.text, "the undo restores only what it archived"


def test_a_question_that_is_answered_badly_is_asked_again_with_what_was_written(
    web: Web, world: World, api: ApiClient
) -> None:
    both = ids(world, "first", "second")
    for action, form, why in (
        ("move", {"project": "ab"}, "“ab” is too short: each part has at least 3 characters"),
        ("tag", {"add": "", "remove": ""}, "Name a tag"),
        ("tag", {"add": "x" * 300, "remove": "old"}, "at most 200 characters"),
        ("enqueue", {}, "Choose a queue"),
    ):
        reply = web.post(f"/selected/tasks/{action}", ids=both, back=world.path, **form)
        assert reply.status_code == 400 and why in reply.text, action
        sent = filled(reply.text, "/selected/")
        assert (sent["ids"], sent["back"]) == (both, html.escape(world.path))
        assert all(f'name="{name}"' in reply.text and f'value="{value}"' in reply.text for name, value in form.items())


def test_tags_of_selected_tasks_are_added_and_removed(web: Web, world: World, api: ApiClient) -> None:
    both = ids(world, "first", "second")
    assert web.post("/selected/tasks/tag", ids=both, add="best, to keep", remove="red").status_code == 303
    tags = [api("tasks.get_by_id", task=task)["task"]["tags"] for task in both.split(",")]
    assert tags == [["round", "best", "to keep"], ["best", "to keep"]]
    assert "Name a tag" in web.post("/selected/tasks/tag", ids=both, add=" , ").text
    assert "at most 200 characters" in web.post("/selected/tasks/tag", ids=both, add="x" * 300).text


def test_selected_tasks_are_moved_and_back(web: Web, world: World, api: ApiClient) -> None:
    name = f"Moved {uuid4().hex[:6]}/here"
    reply = web.post("/selected/tasks/move", ids=ids(world, "first"), project=name, back=world.path)
    task = api("tasks.get_all_ex", id=[world.tasks["first"]], only_fields=["project.name"])["tasks"][0]
    assert task["project"]["name"] == name
    page = web.get(reply.headers["Location"])
    assert f'name="project_id" value="{world.project}"' in page
    web.post("/selected/tasks/move", ids=ids(world, "first"), project_id=world.project)
    assert "first" in names(web.get(world.path))


def test_deleting_selected_tasks_deletes_their_files(
    web: Web, world: World, api: ApiClient, clearml_server: ClearmlServer
) -> None:
    token = {"Authorization": api.http.headers["Authorization"]}
    base, folder = clearml_server.files_url, uuid4().hex
    for name in ("mine 1.txt", "other.txt"):
        httpx.post(base, files={f"{folder}/{name}": (name, b"data")}, headers=token).raise_for_status()
    uri = f"{base}/{folder}/mine%201.txt"
    artifact = {"key": "a", "type": "x", "mode": "output", "uri": uri}
    api("tasks.add_or_update_artifacts", task=world.tasks["first"], artifacts=[artifact])
    asked = web.get("/selected/tasks/delete", params={"ids": ids(world, "first")})
    assert "Delete 1 task?" in asked and "They have 1 artifact" in asked
    assert "draft models are deleted" in asked and "Delete their files on this server too" in asked, "a choice"
    assert re.search(r"data-close[^>]*autofocus", asked), "the focus is on Cancel"
    assert web.post("/selected/tasks/delete", ids=ids(world, "first"), files="1", back=world.path).status_code == 303
    assert names(web.get(world.path)).count("first") == 0
    web.get(f"/files/{folder}/mine 1.txt", status=404)
    assert web.get(f"/files/{folder}/other.txt") == "data"


def test_the_question_before_a_deletion_counts_what_goes_and_says_what_stays(
    web: Web, world: World, api: ApiClient
) -> None:
    draft, ended, controller = (
        make_task(api, name, project=world.project) for name in ("draft", "ended", "controller")
    )
    for number in range(2):
        api("models.create", name="own", uri=f"http://e/{uuid4().hex}", task=draft, ready=bool(number))
    listed = api("models.create", name="of a step", uri=f"http://e/{uuid4().hex}", task=ended, ready=False)["id"]
    api("tasks.add_or_update_model", task=controller, name="m", type="output", model=listed)
    api("tasks.started", task=ended)
    api("tasks.completed", task=ended)
    every = ",".join((draft, ended, controller))
    asked = web.get("/selected/tasks/delete", params={"ids": every})
    assert "One of them is left as it is: it is neither a draft nor archived: archive it first." in asked
    assert "They have 0 artifacts and 1 draft model." in asked, (
        "what goes: neither a published model nor that of a step"
    )
    told = web.post("/selected/tasks/delete", ids=f"{ended},{controller}", back=world.path).text
    assert "It is neither a draft nor archived: archive it first" in told and "Deleted: 1." in told
    assert api("models.get_all", id=[listed])["models"], "it belongs to the task that made it"
    api("tasks.archive_many", ids=[ended])
    assert "left as it is" not in web.get("/selected/tasks/delete", params={"ids": ended})


@pytest.mark.parametrize("path", ["/selected/tasks/delete", "/selected/tasks/delete?ids=,"])
def test_nothing_selected_is_said(web: Web, path: str) -> None:
    assert "Nothing is selected" in web.get(path, status=400)
    assert web.get("/selected/tasks/nonsense?ids=x", status=404)


def test_a_change_must_come_from_a_page_of_this_server(web: Web, world: World) -> None:
    reply = web.http.post(
        "/selected/tasks/delete", data={"ids": ids(world, "first")}, headers={"Origin": "http://x.example"}
    )
    assert reply.status_code == 403
    assert "first" in names(web.get(world.path))


def test_a_search_finds_tags_parameters_models_and_dataset_versions(web: Web, api: ApiClient) -> None:
    mark = uuid4().hex[:10]
    model = api("models.create", name=f"model {mark}", uri="http://x/y")["id"]
    version = make_task(api, f"texts {mark}", type="data_processing", system_tags=["dataset"])
    tagged = make_task(api, "tagged", tags=[f"{mark} & <b>"])
    told = make_task(api, "told", hyperparams=parameters(**{f"depth{mark}": f"value{mark}"}))
    page = web.get("/search", params={"q": mark.upper()})
    for link in (f"/models/{model}", *(f"/tasks/{task}" for task in (version, tagged, told))):
        assert f'href="{link}"' in page, link
    assert "<h2>Dataset versions</h2>" in page and f"{mark} &amp; &lt;b&gt;" in page
    links = [html.unescape(link) for link in re.findall(r'class="chip" href="([^"]+)"', page)]
    assert [names(web.get(link))[:1] for link in links] == [["tagged"], ["told"]]
    assert names(web.get("/search", params={"q": f"value{mark}"})) == ["told"]


def test_tags_of_one_task_are_changed_from_its_page(web: Web, api: ApiClient) -> None:
    task = make_task(api, tags=["old"])
    link = html.unescape(re.search(r'href="(/selected/tasks/tag[^"]+)"', web.get(f"/tasks/{task}"))[1])  # type: ignore[index]
    assert "They have" in web.get(link)
    reply = web.post("/selected/tasks/tag", ids=task, add="new", remove="old", back=f"/tasks/{task}")
    page = web.get(reply.headers["Location"])
    assert 'href="/projects/*?tag=new"' in page and "?tag=old" not in page


def test_the_filters_of_the_address_are_told_in_words_and_taken_away_one_by_one(web: Web) -> None:
    page = web.get(
        "/projects/*?q=trial&status=failed&status=completed&type=training&sub=1&tag=a&nottag=b&archived=1"
        "&where=last.loss.train<=0.5"
    )
    fold = page[page.index('<div class="fold">') : page.index('<form class="filters folded"')]
    links = re.findall(r'href="([^"]*)" aria-label="Take away the filter ([^"]*)"', fold)
    told = [html.unescape(words) for _, words in links]
    assert told[:6] == ["“trial”", "training", "sub projects", "archive", "failed", "completed"]
    assert told[6:8] == ["tag a", "not tagged b"] and "0.5" in told[8] and len(told) == 9
    without = html.unescape(links[4][0])
    assert "status=failed" not in without and "status=completed" in without
    assert not re.search("Take away the filter", web.get("/projects/*"))
