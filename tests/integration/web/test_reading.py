"""What the web pages show, over HTTP."""

from __future__ import annotations

import json
import re
from urllib.parse import quote
from uuid import uuid4

import httpx
import pytest
from clearml_localserver.pytest_plugin import ClearmlServer

from tests.api_client import ApiClient
from tests.integration.web.pages import ESCAPED, FROM_PAGE, HOSTILE, NO_ID, Web, make_task

pytestmark = pytest.mark.integration


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
    api("tasks.started", task=controller)  # a draft is no run
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


@pytest.mark.parametrize(("query", "status"), [
    ("?q=(", 200), ("?tag=a&sub=1&archived=1", 200), ("?page=&size=&archived=&type=&from=elsewhere", 200),
    ("?order=bogus", 400), ("?status=nope&status=failed", 400),
])  # fmt: skip
def test_any_address_of_a_list_answers(web: Web, query: str, status: int) -> None:
    web.get(f"/projects/*{query}", status)


TABLE, CONSOLE = "/projects/*", "/tasks/{task}/console"
LONG = "x" * 201


@pytest.mark.parametrize(("path", "query", "told"), [
    *((TABLE, f"page={page}", "a whole number from 1 to 1,000,000") for page in ("0", "-1", "abc", "%C2%B2", "9" * 11)),
    (TABLE, "size=0", "a whole number from 1 to 200, not “0”"), (TABLE, "size=5000", "not “5000”"),
    (TABLE, "archived=7", "“archived” in the address is 1, or is left out, not “7”"), (TABLE, "sub=9", "not “9”"),
    (TABLE, "tags=some", "is any, or is left out"), (TABLE, "type=nope", "No task has the type"),
    (TABLE, f"q={LONG}", "has at most 200 characters, not 201"),
    (TABLE, "&".join(f"where=iteration%3E={i}" for i in range(21)), "is 21 times in the address; at most 20"),
    (TABLE, "&".join(f"col=runtime.n{i}" for i in range(41)), "is 41 times in the address; at most 40"),
    ("/projects/*/tasks.csv", "archived=yes", "not “yes”"), ("/projects/*/models", "page=x", "not “x”"),
    ("/search", f"q={LONG}", "at most 200"), ("/search", "q=abc&page=x", "not “x”"), ("/reports", "page=x", "not “x”"),
    ("/reports", f"q={LONG}", "at most 200"), ("/activity", "page=x", "not “x”"),
    ("/workers/w", "over=year", "one of hour"),
    (CONSOLE, "at=abc", "not “abc”"), (CONSOLE, "from=end", "start, or is left out"),
    (CONSOLE, f"q={LONG}", "at most 200"),
    (CONSOLE, "before=-1", "not “-1”"), (f"{CONSOLE}/lines", "since=x", "not “x”"),
    (f"{CONSOLE}/text", "at=x", "not “x”"),
    ("/tasks/{task}/plots", "iters=51", "a whole number from 1 to 50"), ("/tasks/{task}/samples", "iters=x", "not “x”"),
    ("/tasks/{task}/scalars", "axis=time", "iter or iso_time"), ("/tasks/{task}/dataset", f"q={LONG}", "at most 200"),
    *(("/compare", f"ids={{task}},{{other}}&{query}", told) for query, told in (
        ("smooth=1000", "a whole number from 0 to 99"), ("axis=x", "one of iter, time, clock"),
        ("log=yes", "not “yes”"),
        ("tab=parameters&all=2", "not “2”"), (f"metric={LONG}", "at most 200"),
    )),
])  # fmt: skip
def test_a_value_of_an_address_that_is_not_understood_is_refused(
    web: Web, module_api: ApiClient, two: tuple[str, str], path: str, query: str, told: str
) -> None:
    task, other = two
    page = web.get(f"{path}?{query}".format(task=task, other=other), 400)
    assert told in page, page[-2000:]


@pytest.fixture(scope="module")
def two(module_api: ApiClient) -> tuple[str, str]:
    """Two tasks; the first is a dataset version, so that it has all tabs."""
    return make_task(module_api, "one", system_tags=["dataset"]), make_task(module_api, "two")


@pytest.mark.parametrize("path", [TABLE, "/projects/*/models", "/search?q=one", "/reports", "/activity",
                                  "/tasks/{task}/dataset", "/tasks/{task}/plots"])  # fmt: skip
def test_a_page_beyond_the_end_of_a_list_says_so(web: Web, two: tuple[str, str], path: str) -> None:
    joint = "&" if "?" in path else "?"
    page = web.get(f"{path}{joint}page=999".format(task=two[0]))
    assert "There is no page 999" in page and "First page" in page


def test_what_is_empty_is_not_called_filtered(web: Web, two: tuple[str, str]) -> None:
    page = web.get(f"/tasks/{two[0]}/dataset")
    assert "No files" in page and "No file matches" not in page
    assert "All reports" in web.get("/reports?q=nothing+like+this") and "All reports" not in web.get("/reports")


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
    for run in runs:
        api("tasks.started", task=run)
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


def test_without_javascript_curves_and_figures_say_what_they_need(web: Web, api: ApiClient) -> None:
    task = make_task(api)
    api("events.add", type="plot", task=task, metric="m", variant="v", iter=0, plot_str='{"data": []}')
    for tab in ("scalars", "plots"):
        said = re.search(r"<noscript>(.*?)</noscript>", web.get(f"/tasks/{task}/{tab}"), re.DOTALL)
        assert said is not None and "Switch on JavaScript to see them." in said[1]


def test_a_name_of_another_writing_direction_is_isolated(web: Web, api: ApiClient) -> None:
    name = "abc \u202ecod.exe"
    task = make_task(api, name)
    for path in (
        f"/tasks/{task}",
        f"/tasks/{task}/enqueue",
        f"/selected/tasks/archive?ids={task}",
        "/search?q=cod.exe",
    ):
        page = web.get(path)
        assert f"<bdi>{name}</bdi>" in page.partition("<main")[2], path
    assert f'name="name" value="Clone of {name}"' in web.get(f"/tasks/{task}/clone")


def current(page: str) -> list[str]:
    """Return the entries of the navigation that are marked as the page's own."""
    return re.findall(
        r'<a href="([^"]+)" aria-current="page">', page.partition('aria-label="Main"')[2].partition("</nav>")[0]
    )


def test_models_have_their_place_in_the_navigation(web: Web, api: ApiClient) -> None:
    model = api("models.create", name="a model", uri="http://x/y")["id"]
    assert current(web.get("/models", follow_redirects=True)) == ["/models"]
    assert current(web.get(f"/models/{model}")) == current(web.get(f"/models/{model}/edit")) == ["/models"]
    assert current(web.get("/projects/*")) == ["/projects"]


def test_the_projects_around_one_are_links(web: Web, api: ApiClient) -> None:
    name = f"Around {uuid4().hex[:6]}"
    outer = api("projects.create", name=f"{name}")["id"]
    middle = api("projects.create", name=f"{name}/middle (a+b)")["id"]
    inner = api("projects.create", name=f"{name}/middle (a+b)/inner")["id"]
    for path in (f"/projects/{inner}", f"/projects/{inner}/models"):
        crumbs = web.get(path).partition('class="crumbs"')[2].partition("</nav>")[0]
        assert f'<a href="/projects/{outer}">{name}</a>' in crumbs
        assert f'<a href="/projects/{middle}">middle (a+b)</a>' in crumbs


def test_a_draft_has_neither_reported_nor_run(web: Web, api: ApiClient) -> None:
    draft, begun = make_task(api, "a draft"), make_task(api, "has run")
    api("tasks.started", task=begun)
    api("tasks.stopped", task=begun)
    page, other = web.get(f"/tasks/{draft}/overview"), web.get(f"/tasks/{begun}/overview")
    assert "Last report" not in page and "Last change" in page and ">New run</a>" in page
    assert "Last report" in other and ">Run again</a>" in other
    assert "<h1>New run</h1>" in web.get(f"/tasks/{draft}/run") and "<h1>Run again</h1>" in web.get(
        f"/tasks/{begun}/run"
    )


def test_the_path_of_a_project_is_written_the_same_everywhere(web: Web, controller: str, api: ApiClient) -> None:
    project = api("tasks.get_by_id", task=controller)["task"]["project"]
    name = api("projects.get_by_id", project=project)["project"]["name"].partition("/")[0]
    for path in (f"/tasks/{controller}", "/projects/*?col=project"):
        page = web.get(path)
        assert f">{name}/{ESCAPED}</a>" in page and ".pipelines" not in page.partition("<main")[2]
