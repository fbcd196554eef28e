"""Addresses with ids of something else: deleted, public, of another kind, made up, or what the API reads otherwise."""

from __future__ import annotations

import html
import json
import re

import pytest
from clearml_localserver import web as pages

from tests.api_client import ApiClient
from tests.integration.web.pages import NO_ID, Web, make_task

pytestmark = pytest.mark.integration

KINDS = ("task", "model", "project", "report", "queue", "item", "user", "key")
WITH_IDS = sorted(
    path
    for path, view in pages.PAGES.items()
    if set(re.findall(r"\{(\w+)", path)) & set(KINDS) and getattr(view, "__module__", "") != pages.links.__name__
)


def text(page: str) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page)))


def address(path: str, id_: str) -> str:
    known = path.replace("{action}", "publish" if "/reports/" in path else "clone").replace("{change}", "delete")
    return re.sub(r"\{\w+(:path)?\}", id_, known)


@pytest.fixture
def ids(api: ApiClient) -> dict[str, str]:
    """Ids of each kind; `deleted` and the two operators of the API belong to nothing."""
    made = {name: make_task(api, f"task {name}") for name in ("task", "other", "deleted", "public")}
    made["model"] = api("models.create", name="a model", uri="file:///m")["id"]
    made["public model"] = api("models.create", name="public model", uri="file:///p", public=True)["id"]
    made["report"] = api("reports.create", name="a report")["id"]
    made["queue"] = api("queues.create", name=f"of these ids {made['task'][:6]}")["id"]
    for name in ("first", "second"):
        made[name] = make_task(api, f"version {name}", type="data_processing", system_tags=["dataset"])
    api("tasks.delete", task=made["deleted"], force=True)
    api("tasks.make_public", ids=[made["public"]])
    return made | {"all but": f"-{made['task']}", "not": "__$not"}


def everything(api: ApiClient) -> str:
    lists = ("tasks.get_all_ex", "models.get_all_ex", "queues.get_all_ex", "projects.get_all_ex")
    return json.dumps([api(name, search_hidden=True) for name in lists], sort_keys=True)


def test_an_id_that_nothing_of_the_kind_has_is_said_and_shows_nothing_else(web: Web, ids: dict[str, str]) -> None:
    for path in WITH_IDS:
        for name in ("deleted", "all but", "not"):
            page = text(web.get(address(path, ids[name]), status=404))
            assert "Nothing here" in page and ids[name] in page and "company" not in page, (path, page)


def test_no_change_reaches_another_thing_than_the_address_names(web: Web, api: ApiClient, ids: dict[str, str]) -> None:
    before = everything(api)
    form = {"name": "changed", "ids": ids["all but"], "queue": ids["queue"], "add": "tag", "project": "Moved"}
    for path in pages.CHANGES:
        if not set(re.findall(r"\{(\w+)", path)) & set(KINDS):
            continue
        for name in ("all but", "not"):
            reply = web.post(address(path, ids[name]), **form)
            assert reply.status_code >= 400, path
    for action in pages.bulk.BULK:
        reply = web.post(f"/selected/tasks/{action}", **form)
        assert "There is no such task" in reply.text, action
    assert everything(api) == before


def test_what_is_public_is_read_and_a_change_of_it_says_why_not(web: Web, api: ApiClient, ids: dict[str, str]) -> None:
    assert "Compare 2 tasks" in web.get(f"/compare?ids={ids['task']},{ids['public']}")
    assert "Compare 2 models" in web.get(f"/compare/models?ids={ids['model']},{ids['public model']}")
    for path in (
        f"/tasks/{ids['public']}/archive",
        f"/tasks/{ids['public']}/edit",
        f"/models/{ids['public model']}/edit",
    ):
        reply = web.post(path, name="another name", **{"was:name": "x"})
        if reply.status_code == 409:  # the form is shown first, with the value that is stored
            from_page = re.findall(r'name="(was:name)" value="([^"]*)"', reply.text)
            reply = web.post(path, name="another name", **dict(from_page))
        assert "It is public, so it can only be read" in reply.text, path
    for kind, of_kind in (("tasks", "public"), ("models", "public model")):
        reply = web.post(f"/selected/{kind}/archive", ids=f"{ids[of_kind]},{NO_ID}")
        page = text(reply.text)
        assert "It is public, so it can only be read" in page and f"{NO_ID} There is no such {kind[:-1]}" in page


def test_a_comparison_says_of_each_id_why_it_is_left_out(web: Web, ids: dict[str, str]) -> None:
    names = ("task", "model", "deleted", "not", "all but", "other", "task", "queue")
    page = text(web.get("/compare", params={"ids": ",".join(ids[name] for name in names)}, follow_redirects=True))
    assert "Compare 2 tasks" in page
    assert "“a model” is a model, which is compared with models only" in page
    for name in ("deleted", "not", "all but", "queue"):
        assert f"There is no task with the id {ids[name]}; it may have been deleted" in page
    page = text(web.get(f"/compare/models?ids={ids['model']},{ids['public model']},{ids['task']},{ids['not']}"))
    assert "Compare 2 models" in page and "“task task” is a task, which is compared with tasks only" in page
    files = f"/compare?tab=files&ids={ids['first']},{ids['second']}"
    page = text(web.get(f"{files},{ids['task']},{ids['deleted']}"))
    assert "“task task” is not a dataset version" in page and "0 → 0 files" in page
    page = text(web.get(f"/compare?tab=files&ids={ids['first']},{ids['task']}", status=400))
    assert "is not a dataset version" in page and "Nothing to compare" in page


def test_too_many_ids_are_counted(web: Web) -> None:
    many = ",".join(f"{number:032x}" for number in range(1500))
    for path, said in (
        ("/compare", "1,500 are selected; at most 50 can be compared"),
        ("/compare/models", "1,500 are selected; at most 50 can be compared"),
        ("/selected/tasks/delete", "1,500 are selected; at most 1,000 can be changed at once"),
    ):
        assert said in web.get(f"{path}?ids={many}", status=400)


def test_selected_ids_that_nothing_has_leave_nothing_to_confirm(web: Web, ids: dict[str, str]) -> None:
    for kind in ("tasks", "models"):
        page = web.get(f"/selected/{kind}/delete?ids={ids['all but']},{ids['deleted']},{ids['not']}")
        assert "Nothing to delete" in page and f"None of the selected {kind} is there any more" in page
        assert "<button" not in page[page.index('action="/selected/') : page.index("</form>")]
    page = text(web.get(f"/selected/tasks/delete?ids={ids['task']},{ids['deleted']}"))
    assert "Delete 1 task?" in page and f"There is no task {ids['deleted']}" in page


def test_blocks_of_a_report_name_the_ids_that_nothing_has(web: Web, api: ApiClient, ids: dict[str, str]) -> None:
    gone = [f"{number:032x}" for number in range(60)]
    blocks = {
        f"tasks: {ids['all but']}": f"1 of the tasks that this block names does not exist: {ids['all but']}",
        f"tasks: {ids['task']}, {ids['model']}": f"does not exist: {ids['model']}",
        f"tasks: {' '.join(gone)}": f"do not exist: {gone[0]} , {gone[1]}",
        f"tasks: {ids['task']} {' '.join(gone)}": "This block names 11 more tasks than a block shows",
    }
    written = "\n\n".join(f"```tasks\n{block}\n```" for block in blocks)
    limited = f"```tasks\ntasks: {ids['task']}, {ids['other']}\nlimit: 1\n```"
    report = api("reports.create", name="with ids", report=written)["id"]
    page = text(web.get(f"/reports/{report}"))
    for said in blocks.values():
        assert said in page, said
    report = api("reports.create", name="with a limit", report=limited)["id"]
    assert "not exist" not in web.get(f"/reports/{report}"), "the limit leaves it out, it exists"
