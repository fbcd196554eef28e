"""The web pages over HTTP: what they show, what they refuse, what they change. No browser."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest
from clearml_localserver.pytest_plugin import ClearmlServer, running_server

from tests.api_client import ApiClient

pytestmark = pytest.mark.integration

HOSTILE = "<script>alert('name')</script>"
ESCAPED = "&lt;script&gt;alert(&#39;name&#39;)&lt;/script&gt;"
FROM_PAGE = {"Sec-Fetch-Site": "same-origin"}
NO_ID = "0" * 32


class Web:
    """A browser without a screen: reads pages, sends forms as our own pages do."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, headers={"Accept": "text/html"}, timeout=30, trust_env=False)

    def get(self, path: str, status: int = 200, **kwargs: Any) -> str:
        reply = self.http.get(path, **kwargs)
        assert reply.status_code == status, (path, reply.status_code, reply.text[-600:])
        return reply.text

    def post(self, path: str, **form: str) -> httpx.Response:
        return self.http.post(path, data=form, headers=FROM_PAGE)


@pytest.fixture
def web(clearml_server: ClearmlServer) -> Iterator[Web]:
    client = Web(clearml_server.web_url)
    yield client
    client.http.close()


def make_task(api: ApiClient, name: str = "task", **fields: Any) -> str:
    return str(api("tasks.create", name=name, type=fields.pop("type", "training"), **fields)["id"])


def status_of(api: ApiClient, task: str) -> str:
    return str(api("tasks.get_by_id", task=task)["task"]["status"])


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


# ---- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["/", "/projects", "/projects/*", "/pipelines", "/datasets", "/queues", "/workers", "/search", "/search?q=x"],
)
def test_pages_answer(web: Web, path: str) -> None:
    assert "</html>" in web.get(path)


def test_every_tab_escapes_what_people_wrote(web: Web, api: ApiClient, controller: str) -> None:
    hostile = {"task": controller, "metric": HOSTILE, "variant": HOSTILE, "iter": 0}
    events = [
        {"type": "log", "task": controller, "msg": HOSTILE, "level": "info"},
        hostile | {"type": "training_stats_scalar", "value": 1},
        hostile | {"type": "plot", "plot_str": '{"data":[]}'},
        hostile | {"type": "plot", "variant": "not JSON", "plot_str": f"</script>{HOSTILE}"},
        hostile | {"type": "training_debug_image", "url": f"javascript:{HOSTILE}"},
    ]
    lines = "\n".join(json.dumps(event) for event in events)
    reply = api.http.post("/events.add_batch", content=lines, headers={"Content-Type": "application/json-lines"})
    assert reply.json()["data"]["added"] == len(events)
    api("tasks.add_or_update_artifacts", task=controller, artifacts=[
        {"key": HOSTILE, "type": "x", "uri": f"javascript:{HOSTILE}", "type_data": {"preview": HOSTILE}}
    ])  # fmt: skip
    for tab in ("", "/pipeline", "/overview", "/parameters", "/console", "/scalars", "/plots", "/samples", "/artifacts",
                "/run", "/clone", "/archive"):  # fmt: skip
        page = web.get(f"/tasks/{controller}{tab}")
        assert "<script>alert" not in page, tab
        assert ESCAPED in page, tab
        assert 'href="javascript:' not in page and 'src="javascript:' not in page, tab
        assert page.count("</script>") == page.count("<script"), tab
    for path in ("/", "/pipelines", "/projects", f"/search?q={HOSTILE}"):
        page = web.get(path)
        assert "<script>alert" not in page and ESCAPED in page, path


def test_live_parts_are_the_pages_own(web: Web, controller: str) -> None:
    page = web.get(f"/tasks/{controller}/pipeline")
    parts = web.http.get(f"/tasks/{controller}/pipeline", params={"_part": "header,run,nonsense"}).json()
    assert set(parts["parts"]) == {"header", "run"}
    assert parts["live"] is False
    assert parts["parts"]["run"].strip()[:60] in page


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        f"/tasks/{NO_ID}",
        f"/tasks/{NO_ID}/console",
        f"/tasks/{NO_ID}/scalars",
        f"/tasks/{NO_ID}/plots",
        f"/tasks/{NO_ID}/samples",
        f"/tasks/{NO_ID}/run",
        f"/tasks/{NO_ID}/abort",
        f"/tasks/{NO_ID}/nonsense",
        f"/projects/{NO_ID}",
        f"/pipelines/{NO_ID}",
        f"/datasets/{NO_ID}",
        f"/models/{NO_ID}",
        "/static/nothing.js",
        "/static/..%2Fsite.py",
        "/files/nothing",
        "/tasks/%3Cscript%3E",
    ],
)
def test_what_does_not_exist_is_a_friendly_404(web: Web, path: str) -> None:
    page = web.get(path, status=404)
    assert "Traceback" not in page and "<script>" not in page


@pytest.mark.parametrize("query", ["?page=0", "?page=-1", "?page=x", "?page=99999999999", "?order=bogus", "?type=nope",
                                   "?status=nope&status=failed", "?q=(", "?tag=a&sub=1&archived=1"])  # fmt: skip
def test_any_address_of_a_list_answers(web: Web, query: str) -> None:
    web.get(f"/projects/*{query}")


def test_tasks_are_filtered_sorted_and_paged_by_the_address(web: Web, api: ApiClient) -> None:
    project = api("projects.create", name=f"Paging {uuid4().hex[:6]}")["id"]
    for i in range(52):
        make_task(api, f"task {i:02d}", project=project, tags=["even"] if i % 2 == 0 else [])
    api("tasks.started", task=make_task(api, "runs", project=project))

    def names(query: str) -> list[str]:
        return re.findall(r'class="name" href="/tasks/[^"]+">([^<]+)</a>', web.get(f"/projects/{project}?{query}"))

    assert names("order=name")[:2] == ["runs", "task 00"]
    assert names("order=-name")[:2] == ["task 51", "task 50"]
    assert (len(names("order=name")), len(names("order=name&page=2"))) == (50, 3)
    assert "Next" in web.get(f"/projects/{project}?order=name")
    assert "Next" not in web.get(f"/projects/{project}?order=name&page=2")
    assert names("status=in_progress") == ["runs"]
    assert names("q=TASK+07") == ["task 07"]
    assert len(names("tag=even")) == 26
    assert names("archived=1") == []


def test_one_odd_document_takes_no_page_with_it(web: Web, api: ApiClient) -> None:
    graphs = ['{"a": {"parents": 1}}', "[" * 5000, '{"\\ud800": null}', "9" * 5000]
    runs = [
        make_task(api, f"odd graph {number}", type="controller", system_tags=["pipeline"],
                  configuration={"Pipeline": {"name": "Pipeline", "value": graph}})
        for number, graph in enumerate(graphs)
    ]  # fmt: skip
    name = 'a "quote", 50 %, \\ and \n\x01\u0301'
    task = make_task(api, name, system_tags=["dataset"], hyperparams={name: {name: {"section": name, "name": name}}})
    api("tasks.add_or_update_artifacts", task=task, artifacts=[
        {"key": name, "type": "x", "uri": "http://[bad", "timestamp": 1_125_899_906_842_624, "content_size": 2**62}
    ])  # fmt: skip
    for url in ("http://[bad", "http://127.0.0.1:99999/x.png", name):
        api("events.add", type="training_debug_image", task=task, metric="m", variant=url, iter=0, url=url, key=url)
    api("events.add", type="plot", task=task, metric="m", variant="v", iter=0, plot_str='{"data": [NaN]}')
    api("events.add", type="log", task=task, msg="\x1b[" + "3" * 5000 + "m\x01 said")
    for path in (
        "/",
        "/pipelines",
        "/datasets",
        "/projects",
        "/projects/*",
        f"/search?q={quote(name)}",
        "/projects/*?page=%C2%B2",
    ):
        web.get(path)
    for tab in ("", "/overview", "/parameters", "/artifacts", "/samples", "/plots", "/console", "/dataset", "/run"):
        web.get(f"/tasks/{task}{tab}")
    for run in runs:
        web.get(f"/tasks/{run}/pipeline")
    assert "is not as the SDK writes it, e.g. the step &#39;a&#39;" in web.get(f"/tasks/{runs[0]}/pipeline")
    assert "cannot be read" in web.get(f"/tasks/{runs[1]}/pipeline")
    assert "graph?" in web.get("/pipelines") + web.get("/")


def test_a_run_with_thousands_of_parameters_is_made_from_the_form(web: Web, api: ApiClient, queue: str) -> None:
    items = {f"p{n}": {"section": "Args", "name": f"p{n}", "value": str(n), "type": "int"} for n in range(5000)}
    task = make_task(api, "many parameters", hyperparams={"Args": items})
    assert web.get(f"/tasks/{task}/run").count("<input") > 5000
    fields = {f"Args/p{n}": str(n) for n in range(5000)} | {"Args/p7": "70"}
    location = web.post(f"/tasks/{task}/run", name="copy of many", queue=queue, **fields).headers["Location"]
    copy = api("tasks.get_by_id", task=location.split("/")[2].partition("?")[0])["task"]
    values = {name: item["value"] for name, item in copy["hyperparams"]["Args"].items()}
    assert values == {f"p{n}": str(n) for n in range(5000)} | {"p7": "70"}


def test_a_long_console_line_is_cut_and_leads_to_the_whole(web: Web, api: ApiClient) -> None:
    task = make_task(api, "long line")
    at = 1_700_000_000_000
    for number, message in enumerate(("before", "y" * 300_000, "after")):
        api("events.add", type="log", task=task, msg=message, timestamp=at + number)
    page = web.get(f"/tasks/{task}/console")
    assert len(page) < 50_000
    link = re.search(r'<a class="cut" href="([^"]+)">… 290,000 more characters</a>', page)
    assert link is not None
    assert web.get(link[1]) == "y" * 300_000 + "\n"
    assert web.get(f"/tasks/{task}/console/text").split("\n") == ["before", "y" * 300_000, "after", ""]


def test_links_that_the_sdk_prints_lead_to_our_pages(web: Web, api: ApiClient, controller: str) -> None:
    project = api("tasks.get_by_id", task=controller)["task"]["project"]
    for link, page in {
        f"/projects/{project}/tasks/{controller}/output/log": f"/tasks/{controller}/console",
        f"/projects/{project}/experiments/{controller}/output/log": f"/tasks/{controller}/console",
        f"/projects/*/experiments/{controller}/output/log": f"/tasks/{controller}/console",
        f"/projects/*/experiments/{controller}/info-output/metrics/plots?columns=x": f"/tasks/{controller}/plots",
        f"/projects/{project}/experiments/{controller}/artifacts/output-model/x": f"/tasks/{controller}/artifacts",
        f"/projects/{project}/experiments/{controller}": f"/tasks/{controller}",
        f"/projects/{project}/experiments/{controller}/something/new": f"/tasks/{controller}",
        f"/pipelines/{project}/experiments/{controller}": f"/tasks/{controller}",
        f"/datasets/simple/{project}/experiments/{controller}": f"/tasks/{controller}",
        f"/projects/{project}/models/{NO_ID}": f"/models/{NO_ID}",
        f"/projects/{project}/experiments": f"/projects/{project}",
    }.items():
        reply = web.http.get(link)
        assert (reply.status_code, reply.headers["Location"]) == (302, page), link


def test_ten_thousand_console_lines_come_in_pieces(web: Web, api: ApiClient) -> None:
    task = make_task(api)
    start = int(time.time() * 1000) - 100_000
    lines = [
        json.dumps({"type": "log", "task": task, "msg": f"line {i:05d}", "timestamp": start + i}) for i in range(10_000)
    ]
    api.http.post("/events.add_batch", content="\n".join(lines), headers={"Content-Type": "application/json-lines"})
    page = web.get(f"/tasks/{task}/console")
    shown = re.findall(r">line (\d+)</div>", page)
    assert shown == [f"{i:05d}" for i in range(9_000, 10_000)]
    seen, before, more = [f"line {i}" for i in shown], start + 9_000, True
    while more:
        piece = web.http.get(f"/tasks/{task}/console/lines", params={"before": before}).json()
        seen[:0] = [line["html"] for line in piece["lines"]]
        before, more = (piece["lines"][0]["at"] if piece["lines"] else 0), piece["more"]
    assert seen == [f"line {i:05d}" for i in range(10_000)]
    assert web.get(f"/tasks/{task}/console/text").splitlines() == seen


def test_new_console_lines_are_found_even_when_they_come_late(web: Web, api: ApiClient) -> None:
    task = make_task(api)
    now = int(time.time() * 1000)

    def report(text: str, at: int) -> None:
        api("events.add", _version="v2.23", type="log", task=task, msg=text, timestamp=at)

    report("first", now)
    report("late, from another process", now - 3000)
    found = web.http.get(f"/tasks/{task}/console/lines", params={"after": now}).json()
    assert [line["html"] for line in found["lines"]] == ["late, from another process", "first"]
    assert found["live"] is False


def test_files_are_shown_and_never_written(web: Web, api: ApiClient, clearml_server: ClearmlServer) -> None:
    page = b"<script>alert(1)</script>"
    token = {"Authorization": api.http.headers["Authorization"]}
    name = f"web {uuid4().hex}/report ü.html"
    upload = httpx.post(clearml_server.files_url, files={name: ("x", page)}, headers=token, trust_env=False)
    assert upload.status_code == 200
    task = make_task(api)
    api("tasks.add_or_update_artifacts", task=task, artifacts=[
        {"key": "report", "type": "custom", "uri": f"{clearml_server.files_url}/{name.replace(' ', '%20')}"}
    ])  # fmt: skip
    link = re.search(r'href="(/files/[^"]+)"', web.get(f"/tasks/{task}/artifacts"))
    assert link is not None
    reply = web.http.get(link[1])
    assert reply.content == page
    assert "sandbox" in reply.headers["Content-Security-Policy"]
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert web.http.get(link[1], headers={"Range": "bytes=0-3"}).status_code == 206
    for method in ("POST", "PUT", "DELETE"):
        assert web.http.request(method, link[1], headers=FROM_PAGE).status_code == 405
    assert web.http.get("/files/../localserver.sqlite").status_code == 404
    assert web.http.get("/files/%2e%2e/credentials.json").status_code == 404


def test_static_files_are_kept_and_plotly_is_ours(web: Web) -> None:
    page = web.get("/")
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', page)
    address = re.search(r'href="(/static/app\.css\?v=[0-9a-f]+)"', page)
    assert address is not None
    assert "immutable" in web.http.get(address[1]).headers["Cache-Control"]
    assert web.http.get("/static/app.css?v=old").headers["Cache-Control"] == "no-cache"
    assert "plotly.js" in web.get("/static/plotly.min.js")[:400]


# ---- the gate --------------------------------------------------------------------------------------------------------


def test_every_answer_carries_the_safety_headers(web: Web) -> None:
    for path in ("/", "/nothing", "/static/app.css", "/tasks/x"):
        headers = web.http.get(path).headers
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self';")


def test_a_foreign_name_is_not_served(web: Web) -> None:
    assert "does not answer to the name" in web.get("/", status=421, headers={"Host": "evil.example"})


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "null"},
    ],
)
def test_a_foreign_form_changes_nothing(web: Web, api: ApiClient, headers: dict[str, str]) -> None:
    task = make_task(api)
    reply = web.http.post(f"/tasks/{task}/archive", headers=headers)
    assert reply.status_code == 403
    assert "archived" not in api("tasks.get_by_id", task=task)["task"]["system_tags"]


def test_reading_an_actions_page_does_nothing(web: Web, api: ApiClient) -> None:
    task = make_task(api)
    for name in ("clone", "archive", "enqueue"):
        web.get(f"/tasks/{task}/{name}")
    assert status_of(api, task) == "created"


# ---- changing --------------------------------------------------------------------------------------------------------


def test_the_life_of_a_task(web: Web, api: ApiClient, queue: str) -> None:
    task = make_task(api)

    def act(name: str, **form: str) -> str:
        reply = web.post(f"/tasks/{task}/{name}", **form)
        assert reply.status_code == 303, reply.text[-500:]
        return status_of(api, task)

    assert act("enqueue", queue=queue) == "queued"
    assert api("queues.get_by_id", queue=queue)["queue"]["entries"][0]["task"] == task
    assert act("dequeue") == "created"
    assert act("enqueue", queue=queue) == "queued"
    assert act("abort") == "stopped"
    assert api("queues.get_by_id", queue=queue)["queue"]["entries"] == []
    api("tasks.started", task=task)
    api("tasks.completed", task=task)
    assert act("reset") == "created"
    assert act("archive") == "created"
    assert "archived" in api("tasks.get_by_id", task=task)["task"]["system_tags"]
    act("unarchive")
    assert "archived" not in api("tasks.get_by_id", task=task)["task"]["system_tags"]
    copy = web.post(f"/tasks/{task}/clone", name="the copy").headers["Location"]
    assert "the copy" in web.get(copy)


def test_an_action_that_is_not_possible_says_so(web: Web, api: ApiClient) -> None:
    task = make_task(api)
    reply = web.post(f"/tasks/{task}/reset")
    assert reply.status_code == 409
    assert "not possible for a task with status created" in reply.text


def test_a_refusal_of_the_api_is_a_page_with_its_message(web: Web, api: ApiClient) -> None:
    reply = web.post(f"/tasks/{make_task(api)}/enqueue", queue=NO_ID)
    assert reply.status_code in (400, 404)
    assert "Invalid queue id" in reply.text


def test_aborting_a_pipeline_aborts_its_steps(web: Web, api: ApiClient, controller: str, queue: str) -> None:
    api("tasks.started", task=controller)
    steps = [make_task(api, "step", parent=controller) for _ in range(3)]
    api("tasks.started", task=steps[0])
    api("tasks.enqueue", task=steps[1], queue=queue)
    assert web.post(f"/tasks/{controller}/abort", steps="1").status_code == 303
    assert [status_of(api, task) for task in (controller, *steps)] == ["stopped", "stopped", "stopped", "created"]


def test_aborting_a_pipeline_aborts_the_steps_of_one_inside_it(web: Web, api: ApiClient, controller: str) -> None:
    api("tasks.started", task=controller)
    inner = make_task(api, "inner", parent=controller, type="controller")
    step = make_task(api, "inner step", parent=inner)
    for task in (inner, step):
        api("tasks.started", task=task)
    assert web.post(f"/tasks/{controller}/abort", steps="1").status_code == 303
    assert [status_of(api, task) for task in (controller, inner, step)] == ["stopped"] * 3


def test_a_task_whose_worker_does_not_answer_can_be_marked_aborted(web: Web, api: ApiClient) -> None:
    task = make_task(api)
    api("tasks.started", task=task)
    api("workers.status_report", worker="gone", timestamp=int(time.time() * 1000), task=task)
    web.post(f"/tasks/{task}/abort")
    assert status_of(api, task) == "in_progress"
    assert f"/tasks/{task}/force-abort" in web.get(f"/tasks/{task}")
    web.post(f"/tasks/{task}/force-abort")
    assert status_of(api, task) == "stopped"


def test_a_new_run_is_a_copy_with_other_parameters_on_the_chosen_queue(
    web: Web, api: ApiClient, controller: str, queue: str
) -> None:
    api("tasks.started", task=controller)
    api("tasks.completed", task=controller)
    assert ESCAPED in web.get(f"/tasks/{controller}/run")
    form = {"name": "second run", "queue": queue, "Args/version": "1.1", "Args/rows": "5"}
    location = web.post(f"/tasks/{controller}/run", **form).headers["Location"]
    copy = api("tasks.get_by_id", task=location.split("/")[2].partition("?")[0])["task"]
    assert (copy["name"], copy["status"], copy["execution"]["queue"]) == ("second run", "queued", queue)
    assert copy["hyperparams"]["Args"]["version"] == {
        "section": "Args", "name": "version", "value": "1.1", "type": "str", "description": HOSTILE,
    }  # fmt: skip
    assert copy["hyperparams"]["Args"]["rows"]["value"] == "5"
    original = api("tasks.get_by_id", task=controller)["task"]
    assert original["hyperparams"]["Args"]["version"]["value"] == "1.2"
    assert "this is the plan" in web.get(location)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"Args/rows": "many"}, "is not of type int"),
        ({"queue": NO_ID}, "Invalid queue id"),
        ({"name": "x"}, "too short"),
    ],
)
def test_a_wrong_form_comes_back_with_a_message_and_leaves_nothing(
    web: Web, api: ApiClient, controller: str, queue: str, form: dict[str, str], message: str
) -> None:
    before = len(api("tasks.get_all", search_hidden=True, only_fields=["id"])["tasks"])
    reply = web.post(f"/tasks/{controller}/run", **({"name": "good name", "queue": queue, "Args/version": "9"} | form))
    assert reply.status_code in (400, 422)
    assert message in reply.text
    assert 'value="9"' in reply.text, "what was typed is still there"
    assert len(api("tasks.get_all", search_hidden=True, only_fields=["id"])["tasks"]) == before


def test_queues_with_a_live_worker_come_first(web: Web, api: ApiClient, controller: str, queue: str) -> None:
    unserved = api("queues.create", name="aaa first by name")["id"]
    api("workers.register", worker="here", queues=[queue])
    try:
        options = re.findall(r'<option value="([0-9a-f]{32})"( selected)?>', web.get(f"/tasks/{controller}/run"))
        order = [option for option, _ in options]
        assert order.index(queue) < order.index(unserved)
        assert options[0][1] == " selected"
        assert options[0][0] != unserved
    finally:
        api("workers.unregister", worker="here")


def test_a_workers_machine_is_shown_as_agents_report_it(web: Web, api: ApiClient, queue: str) -> None:
    statistics = {"cpu_usage": [45.0], "memory_used": 2048.5, "memory_free": 6143.5, "disk_free_home": 67.2}
    api("workers.register", worker="vm:<b>1</b>", queues=[queue])
    now = int(time.time() * 1000)
    api("workers.status_report", worker="vm:<b>1</b>", timestamp=now, queues=[queue], machine_stats=statistics)
    page = web.get("/workers")
    api("workers.unregister", worker="vm:<b>1</b>")
    assert "vm:&lt;b&gt;1&lt;/b&gt;" in page
    assert "45 %" in page and "2.0 of 8.0 GB" in page and "idle" in page


def test_queue_order_is_changed_by_people(web: Web, api: ApiClient, queue: str) -> None:
    tasks = [make_task(api, f"entry {i}") for i in range(3)]
    for task in tasks:
        api("tasks.enqueue", task=task, queue=queue)

    def move(task: str, how: str) -> list[int]:
        assert web.post(f"/queues/{queue}/entries/{task}/{how}").status_code == 303
        return [tasks.index(entry["task"]) for entry in api("queues.get_by_id", queue=queue)["queue"]["entries"]]

    assert move(tasks[2], "front") == [2, 0, 1]
    assert move(tasks[1], "forward") == [2, 1, 0]
    assert move(tasks[2], "backward") == [1, 2, 0]
    assert move(tasks[1], "back") == [2, 0, 1]
    assert move(tasks[0], "remove") == [2, 1]
    assert status_of(api, tasks[0]) == "created"
    assert web.post(f"/queues/{queue}/entries/{tasks[1]}/sideways").status_code == 404
    assert "entry 2" in web.get("/queues")


def test_queues_are_made_by_people(web: Web, api: ApiClient) -> None:
    name = f"made {uuid4().hex[:6]}"
    assert web.post("/queues", name=name).status_code == 303
    assert name in web.get("/queues")
    assert web.post("/queues", name="x").status_code == 400


# ---- beyond loopback -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClearmlServer]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LOCALSERVER_HOST", "0.0.0.0")
        with running_server(tmp_path_factory.mktemp("open") / "data") as server:
            yield server


def log_in(web: Web, server: ClearmlServer, **form: str) -> httpx.Response:
    access_key, secret_key = server.credentials
    return web.post("/login", **({"access_key": access_key, "secret_key": secret_key} | form))


def test_beyond_loopback_only_liveness_statics_and_log_in_answer(open_server: ClearmlServer) -> None:
    web = Web(open_server.web_url)
    assert "Access key" in web.get("/")
    assert "Access key" in web.get("/login")
    web.get("/static/app.css")
    for path in ("/projects", "/tasks/x", "/queues", "/tasks/x/console/lines", "/projects/x/experiments/y/output/log"):
        reply = web.http.get(path)
        assert reply.status_code == 303 and reply.headers["Location"].startswith("/login?next=%2F"), path
    assert web.http.get("/files/x").status_code == 401
    assert web.post("/queues", name="a queue").status_code == 303
    assert "a queue" not in json.dumps(ApiClient(open_server.api_url, open_server.credentials)("queues.get_all"))


def test_a_session_begins_with_the_keys_and_ends_with_log_out(open_server: ClearmlServer) -> None:
    web = Web(open_server.web_url)
    assert log_in(web, open_server, secret_key="wrong").status_code == 401
    assert "do not match" in log_in(web, open_server, access_key="").text
    reply = log_in(web, open_server, next="/queues")
    assert (reply.status_code, reply.headers["Location"]) == (303, "/queues")
    cookie = reply.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "samesite=lax" in cookie.lower()
    assert "Log out" in web.get("/queues")
    token = web.http.cookies["localserver_session"]
    assert web.post("/logout").status_code == 303
    web.http.cookies.set("localserver_session", token)
    assert web.http.get("/queues").status_code == 303, "the token itself has ended"


def test_the_session_is_no_key_to_the_api(open_server: ClearmlServer) -> None:
    web = Web(open_server.web_url)
    log_in(web, open_server)
    token = web.http.cookies["localserver_session"]
    reply = httpx.get(f"{open_server.api_url}/queues.get_all", cookies={"localserver_session": token}, trust_env=False)
    assert reply.status_code == 401


def test_log_in_from_a_foreign_page_is_refused(open_server: ClearmlServer) -> None:
    web = Web(open_server.web_url)
    access_key, secret_key = open_server.credentials
    reply = web.http.post(
        "/login", data={"access_key": access_key, "secret_key": secret_key}, headers={"Origin": "http://evil.example"}
    )
    assert reply.status_code == 403


def test_a_secret_never_appears_on_a_page(web: Web, clearml_server: ClearmlServer, tmp_path: Path) -> None:
    secret = clearml_server.credentials[1]
    for path in ("/", "/workers", "/queues", "/projects"):
        assert secret not in web.get(path)
