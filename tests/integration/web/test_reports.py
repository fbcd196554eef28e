"""Reports are written, changed, published, archived, deleted and exported on the web pages, over HTTP."""

from __future__ import annotations

import json
import re
from uuid import uuid4

import httpx
import pytest
from clearml_localserver.pytest_plugin import ClearmlServer
from clearml_localserver.web.report_text import MAX_TEXT

from tests.api_client import ApiClient
from tests.integration.web.pages import FROM_PAGE, HOSTILE, NO_ID, Web, make_task

pytestmark = pytest.mark.integration

TEXT = """# What we learned

| a | b |
|---|---|
| 1 | 2 |

```scalars
metric: loss
tasks: {first}, {second}
```

- a list with

  ```tasks
  project: {project}
  columns: name, hyperparams.Args.lr, last.loss.train
  order: last.loss.train
  ```

<iframe
  src="https://app.clear.ml/widgets/?objectType=task&amp;xaxis=iter&amp;type=scalar&amp;objects={first}&amp;metrics=loss&amp;variants=train"
  width="100%" height="400"></iframe>

<iframe src="https://app.clear.ml/widgets/?objectType=task&type=plot&objects={second}&metrics=matrix"></iframe>

<iframe src="https://example.com/other?x=1"></iframe>
"""


@pytest.fixture
def world(api: ApiClient) -> dict[str, str]:
    """A project with two tasks that reported a loss."""
    project = f"Reports {uuid4().hex[:6]}/vision"
    id_ = api("projects.create", name=project)["id"]
    made = {"project": project, "project_id": id_}
    for name, lr in (("first", "0.1"), ("second", "0.01")):
        hyperparams = {"Args": {"lr": {"section": "Args", "name": "lr", "value": lr}}}
        made[name] = make_task(api, f"{name} task", project=id_, hyperparams=hyperparams)
        events = [
            {"type": "training_stats_scalar", "task": made[name], "metric": "loss", "variant": "train", "iter": step,
             "value": float(lr) / step}
            for step in range(1, 6)
        ]  # fmt: skip
        content = "\n".join(json.dumps(event) for event in events)
        api.http.post("/events.add_batch", content=content, headers={"Content-Type": "application/json-lines"})
    return made


def make_report(web: Web, name: str = "a report", project: str = "") -> str:
    reply = web.post("/reports", name=name, project=project)
    assert reply.status_code == 303, reply.text
    found = re.fullmatch(r"/reports/(\w+)/edit\?notice=created", reply.headers["Location"])
    assert found
    return found[1]


def form_of(page: str) -> dict[str, str]:
    """Return the marks of a form's fields."""
    return dict(re.findall(r'name="(was:[^"]+)" value="([^"]*)"', page))


def write(web: Web, id_: str, /, **fields: str) -> None:
    reply = web.post(f"/reports/{id_}/edit", **form_of(web.get(f"/reports/{id_}/edit")), **fields)
    assert reply.status_code == 303, reply.text


def test_a_report_is_made_written_and_shows_data_of_now(web: Web, api: ApiClient, world: dict[str, str]) -> None:
    report = make_report(web, "findings", world["project"])
    text = TEXT.format(**world)
    write(web, report, report=text, tags="weekly\nvision", comment="in short")

    (kept,) = api("reports.get_all_ex", project=world["project_id"])["tasks"]
    assert (kept["id"], kept["report"], kept["comment"]) == (report, text, "in short")
    assert sorted(kept["tags"]) == ["vision", "weekly"]
    listed = web.get(f"/reports?q=learned&tag=weekly&project={world['project_id']}")
    assert "findings" in listed and "in short" in listed and world["project"] in listed

    page = web.get(f"/reports/{report}")
    assert "<h2>What we learned</h2>" in page and "<td>1</td>" in page
    assert page.count('class="curve"') == 3  # two tasks in the block, one in the frame
    assert f'href="/compare?ids={world["first"]}%2C{world["second"]}&amp;metric=loss"' in page
    table = page.rpartition("<tbody>")[2].partition("</tbody>")[0]
    assert table.index("second task") < table.index("first task")  # by the last loss
    assert f'href="/tasks/{world["second"]}/plots"' in page
    assert 'href="https://example.com/other?x=1"' in page and "<iframe" not in page
    assert web.http.get(f"/tasks/{report}").headers["Location"] == f"/reports/{report}"
    assert web.http.get(f"/reports/{world['project_id']}/{report}").headers["Location"] == f"/reports/{report}"


def test_a_report_is_live_while_one_of_its_tasks_runs(web: Web, api: ApiClient, world: dict[str, str]) -> None:
    report = make_report(web)
    write(web, report, report=f"```scalars\nmetric: loss\ntasks: {world['first']}\n```")
    assert 'data-live-page="0"' in web.get(f"/reports/{report}")
    api("tasks.started", task=world["first"])
    assert 'data-live-page="1"' in web.get(f"/reports/{report}")
    assert "curve" in web.http.get(f"/reports/{report}?_part=body").json()["parts"]["body"]


def test_an_exported_report_needs_nothing_from_elsewhere(
    web: Web, api: ApiClient, clearml_server: ClearmlServer, world: dict[str, str]
) -> None:
    name, token = f"reports/{uuid4().hex}.png", {"Authorization": api.http.headers["Authorization"]}
    sent = httpx.post(clearml_server.files_url, files={name: ("x", b"PNG")}, headers=token, trust_env=False)
    assert sent.status_code == 200
    uploaded = f"{clearml_server.files_url}/{name}"
    report = make_report(web, "Q3: what & why?", world["project"])
    write(web, report, report=TEXT.format(**world) + f"\n![ours]({uploaded}) ![theirs](https://example.com/a.png)\n")
    reply = web.http.get(f"/reports/{report}/export")
    assert reply.headers["Content-Disposition"] == 'attachment; filename="Q3-what-why.html"'
    page = reply.text
    assert page.count('class="curve"') == 3 and "second task" in page and ".chart" in page
    assert 'src="data:image/png;base64,' in page and '<a href="https://example.com/a.png">theirs</a>' in page
    assert not re.findall(r'<script|<link|<iframe|src="(?!data:)|url\(|@import', page)
    assert "default-src 'none'" in page and " ago<" not in page and "2026" in page


def test_a_second_editor_is_told_and_nothing_is_lost(web: Web, api: ApiClient) -> None:
    report = make_report(web)
    marks = form_of(web.get(f"/reports/{report}/edit"))
    write(web, report, report="their words", comment="their summary")
    reply = web.post(f"/reports/{report}/edit", **marks, report="my words", name="a new name")
    assert reply.status_code == 409
    assert "This report was changed since you opened the form" in reply.text
    assert "my words" in reply.text and "their words" in reply.text and 'value="a new name"' in reply.text
    again = web.post(f"/reports/{report}/edit", **form_of(reply.text), report="both words", name="a new name")
    assert again.status_code == 303
    kept = api("reports.get_all_ex", id=[report])["tasks"][0]
    assert (kept["report"], kept["comment"], kept["name"]) == ("both words", "their summary", "a new name")


def test_a_preview_saves_nothing(web: Web, api: ApiClient) -> None:
    report = make_report(web)
    reply = web.post(f"/reports/{report}/edit", preview="1", report="## Only *seen*")
    assert reply.status_code == 200 and "<h2>Only <em>seen</em></h2>" in reply.text
    assert "report" not in api("reports.get_all_ex", id=[report])["tasks"][0]


def test_a_report_is_moved_archived_published_and_deleted(web: Web, api: ApiClient) -> None:
    report, place = make_report(web), f"Elsewhere {uuid4().hex[:6]}"
    write(web, report, project=place)
    assert place in web.get(f"/reports/{report}")
    write(web, report, project="")
    for action in ("archive", "unarchive", "publish"):
        assert f'action="/reports/{report}/{action}"' in web.get(f"/reports/{report}/{action}")
        assert web.post(f"/reports/{report}/{action}").headers["Location"] == f"/reports/{report}?notice={action}"
        archived = f'href="/reports/{report}"' in web.get("/reports?archived=1")
        assert archived == (action == "archive")
    assert "publish" not in web.get(f"/reports/{report}").partition("More actions")[2].partition("</details>")[0]
    assert web.post(f"/reports/{report}/publish").status_code == 409
    assert 'name="report"' not in web.get(f"/reports/{report}/edit")
    assert web.post(f"/reports/{report}/edit", report="too late", **{"was:report": "x"}).status_code in (400, 409)
    assert web.post(f"/reports/{report}/delete").headers["Location"] == "/reports?notice=delete"
    assert "no report with the id" in web.get(f"/reports/{report}", 404)
    assert web.post("/reports", name="ab").status_code == 400


def test_what_a_block_cannot_show_is_said_in_its_place(web: Web, api: ApiClient, world: dict[str, str]) -> None:
    report, silent = make_report(web), make_task(api, "silent")
    blocks = {
        "scalars\ntasks: x": "needs the line “metric: …”",
        "scalars\nmetric: loss": "Name the tasks by",
        "scalars\nmetric: loss\nnonsense": "“nonsense” is not understood",
        "scalars\nmetric: loss\nproject: No such": "There is no project called &#39;No such&#39;",
        f"scalars\nmetric: gain\ntasks: {world['first']}": "The task has not reported “gain”",
        f"scalars\nmetric: loss\ntasks: {world['first']} {NO_ID}": "1 of the tasks that this block names does not",
        f"scalars\nmetric: loss\ntasks: {world['first']} {silent}": "1 of the 2 tasks has not reported this metric",
        "tasks\ntag: none-has-it": "No task is found",
        "tasks\ntag: x\ncolumns: name, wrong.column": "There is no column &#39;wrong.column&#39;",
        "tasks\ntag: x\nstatus: finished": "There is no status &#39;finished&#39;",
    }
    write(web, report, report="\n\n".join(f"```{block}\n```" for block in blocks))
    page = web.get(f"/reports/{report}")
    for said in blocks.values():
        assert said in page, said


def test_hostile_text_is_harmless(web: Web, api: ApiClient) -> None:
    report = make_report(web, HOSTILE)
    bad = [
        HOSTILE,
        "<img src=x onerror=alert(1)>",
        "[a](javascript:alert(1)) ![b](javascript:alert(1)) [c](data:text/html,<script>1</script>)",
        "<iframe src='javascript:alert(1)'></iframe>",
        '<iframe src="https://x/widgets/?type=scalar&metrics=<script>&objects=<script>"></iframe>',
        "```scalars\nmetric: <script>\ntitle: <script>\ntag: <script>\n```",
        '[x](/a "onmouseover=<script>")',
        "```<script>\n<script>\n```",
    ]
    write(web, report, report="\n\n".join(bad), comment=HOSTILE, tags=HOSTILE)
    for page in (web.get(f"/reports/{report}"), web.get(f"/reports/{report}/export"), web.get("/reports")):
        assert not re.search(r"<script>|<img|<iframe|(href|src)=\"(javascript|data):", page.replace("<script type", ""))


def test_a_report_that_is_too_long_is_cut_and_not_edited_in_the_form(web: Web, api: ApiClient) -> None:
    report = make_report(web)
    api("reports.update", task=report, report="a word " * (MAX_TEXT // 7) + "\n\nthe-end-of-it")
    assert web.http.get(f"/reports/{report}").text.count("the-end-of-it") == 0
    assert "longer than 100,000 characters" in web.get(f"/reports/{report}")
    form = web.get(f"/reports/{report}/edit")
    assert 'name="report"' not in form and "changed by the API only" in form


def test_a_form_from_elsewhere_makes_no_report(web: Web) -> None:
    reply = web.http.post("/reports", data={"name": "a report"}, headers=FROM_PAGE | {"Sec-Fetch-Site": "cross-site"})
    assert reply.status_code == 403
