"""Lists say how many there are and lead through all of them; runs, copies and templates are told apart."""

from __future__ import annotations

import json
import re
from uuid import uuid4

import pytest

from tests.api_client import ApiClient
from tests.integration.web.pages import Web, make_task
from tests.integration.web.test_failures import fail, make_run

pytestmark = pytest.mark.integration


def all_pages(web: Web, path: str, pattern: str, said: str) -> list[str]:
    """Return what a list shows on all its pages; each says how many there are."""
    found: list[str] = []
    while True:
        page = web.get(path)
        assert said in page, path
        found += re.findall(pattern, page)
        following = re.search(r'rel="next" href="([^"]+)"', page)
        if following is None:
            return found
        path = following[1].replace("&amp;", "&")


def test_all_models_of_a_project_are_listed(web: Web, api: ApiClient) -> None:
    project = api("projects.create", name=f"Models {uuid4().hex[:6]}")["id"]
    for n in range(120):
        api("models.create", name=f"model {n}", project=project, uri=f"http://x/{n}")
    found = all_pages(web, f"/projects/{project}/models", r'class="name"[^>]*>(model \d+)<', "120 models")
    assert sorted(found) == sorted(f"model {n}" for n in range(120))


@pytest.mark.parametrize(("path", "heading"), [("/projects/*", "All tasks"), ("/projects/*/models", "All models")])
def test_a_list_over_all_projects_is_named_by_what_it_lists(web: Web, path: str, heading: str) -> None:
    page = web.get(path)
    assert f"<h1>{heading}</h1>" in page
    assert re.search(rf"<title>[^<]*{heading}", page)


def test_all_child_tasks_and_all_results_of_a_search_are_listed(web: Web, api: ApiClient) -> None:
    parent, mark = make_task(api, "parent"), uuid4().hex[:8]
    names = {f"{mark} {n:03d}" for n in range(110)}
    for name in names:
        make_task(api, name, parent=parent)
    for path, said in ((f"/tasks/{parent}/overview", "110 child tasks"), (f"/search?q={mark}", "110 tasks")):
        found = all_pages(web, path, rf'class="name"[^>]*>({mark} \d+)<', said)
        assert (len(found), set(found)) == (110, names)


def test_all_runs_of_a_pipeline_are_listed_and_its_templates_are_no_runs_on_the_first_page(
    web: Web, api: ApiClient
) -> None:
    name = f"Many {uuid4().hex[:6]}"
    project = api("projects.create", name=f"Web/.pipelines/{name}")["id"]
    api("projects.update", project=project, system_tags=["pipeline", "hidden"])
    draft = make_task(api, f"{name} template", type="controller", system_tags=["pipeline"], project=project)
    runs = [make_task(api, f"{name} #{n}", type="controller", system_tags=["pipeline"], project=project)
            for n in range(60)]  # fmt: skip
    for run in runs:
        api("tasks.started", task=run)
        api("tasks.completed", task=run)
    found = all_pages(web, f"/pipelines/{project}", r'href="/tasks/([0-9a-f]+)">Many', "61 runs")
    assert {draft, *runs} <= set(found)
    row = re.search(rf'href="/pipelines/{project}">.*?</tr>', web.get("/pipelines"), re.DOTALL)
    assert row is not None and '<td class="num">60</td>' in row[0]
    home = web.get("/")
    assert f"{name} template" not in home and f"{name} #59" in home


def test_the_first_page_shows_a_pipeline_and_not_those_within_it(web: Web, api: ApiClient) -> None:
    mark = uuid4().hex[:6]
    step = make_task(api, "split")
    fail(api, step, "worker execution exit code 1")
    inner = make_run(api, f"inner {mark}", {"split": step})
    fail(api, inner, "Pipeline step failed")
    outer = make_run(api, f"outer {mark}", {"prepare": inner})
    fail(api, outer, "Pipeline step failed")
    runs = web.get("/").partition("Lately ended")[0]
    assert f'href="/tasks/{outer}">' in runs and f'href="/tasks/{inner}">' not in runs
    assert 'title="0 of 1 steps completed">0 of 1<' in runs, "a failed step is not a completed one"


def test_a_copy_of_a_run_has_not_its_results_and_is_not_listed_under_it(web: Web, api: ApiClient, queue: str) -> None:
    parameters = {
        section: {name: {"section": section, "name": name, "value": value, "type": "str"}}
        for section, name, value in (("Args", "version", "1.2"), ("return", "dataset_id", "abc"))
    }
    parameters["Args"]["empty"] = {"section": "Args", "name": "empty", "value": "", "type": "str"}
    project = api("projects.create", name=f"Web/.pipelines/{uuid4().hex[:6]}")["id"]
    graph = {"Pipeline": {"name": "Pipeline", "value": json.dumps({"a": {"parents": []}})}}
    run = make_task(api, "run", type="controller", system_tags=["pipeline"], hyperparams=parameters, project=project,
                    configuration=graph)  # fmt: skip
    for path, form in (("clone", {"name": "copy"}), ("run", {"name": "copy two", "queue": queue})):
        copy = web.post(f"/tasks/{run}/{path}", **form).headers["Location"].split("/")[2].partition("?")[0]
        assert set(api("tasks.get_by_id", task=copy)["task"]["hyperparams"]) == {"Args"}
    page = web.get(f"/tasks/{run}")
    assert "Other tasks of this run" not in page
    assert "1 set, 1 empty" in page and '<th scope="row">empty</th>' not in page
    assert "return" in api("tasks.get_by_id", task=run)["task"]["hyperparams"]


def test_a_dataset_version_says_which_it_is(web: Web, api: ApiClient) -> None:
    task = make_task(api, "Texts", system_tags=["dataset"])
    api("tasks.edit", task=task, runtime={"version": "1.2.3"})
    page = web.get(f"/tasks/{task}")
    assert "<title>Texts 1.2.3 · localserver</title>" in page
    assert '<h1>Texts <span class="version">1.2.3</span></h1>' in page
    api("tasks.started", task=task)
    api("tasks.completed", task=task)
    told = f'href="/tasks/{task}">Texts</a> <span class="muted">1.2.3</span>'
    for path in ("/", "/projects/*", "/search?q=Texts", "/projects/*?col=name&col=created"):
        assert told in web.get(path), path
    for path in (f"/selected/tasks/delete?ids={task}", f"/tasks/{task}/archive"):
        assert re.search(r'Texts”? <span class="muted">1.2.3</span>', web.get(path)), path


def test_parameters_without_a_value_are_folded_and_no_empty_column_is_shown(web: Web, api: ApiClient) -> None:
    items = {
        name: {"section": "Args", "name": name, "value": value, "type": "str"}
        for name, value in (("set", "0"), ("empty", ""), ("also empty", ""))
    }
    plain = {"x": {"section": "Plain", "name": "x", "value": "1"}}
    page = web.get(f"/tasks/{make_task(api, hyperparams={'Args': items, 'Plain': plain})}/parameters")
    shown, _, folded = page[page.index("<h2>Args") :].partition("<details><summary>2 without a value</summary>")
    assert '<th scope="row">set</th>' in shown and "empty" not in shown
    assert folded.count("empty</th>") == 2
    assert page.count('<th scope="col">Type</th>') == 2 and "Description</th>" not in page


def test_progress_is_said_while_a_task_runs_and_has_made_some(web: Web, api: ApiClient) -> None:
    task = make_task(api, "progress")
    api("tasks.started", task=task)
    api("tasks.edit", task=task, runtime={"progress": "0"}, force=True)
    assert "Progress" not in web.get(f"/tasks/{task}")
    api("tasks.edit", task=task, runtime={"progress": "40"}, force=True)
    assert "40 %" in web.get(f"/tasks/{task}")
    api("tasks.completed", task=task)
    assert "Progress" not in web.get(f"/tasks/{task}")


@pytest.mark.parametrize(
    ("address", "page"),
    [
        ("/dashboard", "/"),
        ("/workers-and-queues/queues?filter=", "/queues"),
        ("/workers-and-queues/workers", "/workers"),
        ("/models", "/projects/*/models"),
        ("/projects/*/compare-experiments;ids=a,b/scalars/values", "/compare?ids=a,b"),
        ("/projects/*/compare-tasks;ids=a,b", "/compare?ids=a,b"),
        ("/compare-models;ids=a,b/details", "/compare/models?ids=a,b"),
    ],
)
def test_addresses_of_the_genuine_web_app_lead_on(web: Web, address: str, page: str) -> None:
    reply = web.http.get(address)
    assert (reply.status_code, reply.headers["Location"]) == (302, page)


@pytest.mark.parametrize("address", ["/settings/workspace-configuration", "/settings/profile", "/projects/*/models"])
def test_the_address_that_clearml_init_prints_tells_how_to_configure_a_client(web: Web, address: str) -> None:
    page = web.get(address)
    assert "clearml.conf" in page or "models" in page
