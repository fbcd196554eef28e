"""Projects are renamed, moved, described and deleted on the web pages, over HTTP."""

from __future__ import annotations

import re
from uuid import uuid4

import pytest

from tests.api_client import ApiClient
from tests.integration.web.pages import ESCAPED, HOSTILE, Web, filled, focused, make_task, summary

pytestmark = pytest.mark.integration


@pytest.fixture
def project(api: ApiClient) -> str:
    return str(api("projects.create", name=f"Team {uuid4().hex[:6]}/vision", description=HOSTILE)["id"])


def test_a_project_is_renamed_moved_and_described_at_once(web: Web, api: ApiClient, project: str) -> None:
    assert f"/projects/{project}/edit" in web.get(f"/projects/{project}")
    page = web.get(f"/projects/{project}/edit")
    assert ESCAPED in page and HOSTILE not in page
    place = f"Other {uuid4().hex[:6]}/deep"
    untouched = filled(page, "/projects/")
    assert web.post(f"/projects/{project}/edit", **untouched).status_code == 303
    assert api("projects.get_by_id", project=project)["project"]["description"] == HOSTILE
    form = untouched | {"name": "language", "location": place, "description": "two\r\nlines"}
    assert web.post(f"/projects/{project}/edit", **form).status_code == 303
    found = api("projects.get_by_id", project=project)["project"]
    assert (found["name"], found["description"]) == (f"{place}/language", "two\nlines")
    form = filled(web.get(f"/projects/{project}/edit"), "/projects/") | {"location": ""}
    assert web.post(f"/projects/{project}/edit", **form).status_code == 303
    assert api("projects.get_by_id", project=project)["project"]["name"] == "language"
    api("projects.delete", project=project)


def test_a_name_that_is_taken_comes_back_with_the_reason(web: Web, api: ApiClient, project: str) -> None:
    place = api("projects.get_by_id", project=project)["project"]["name"].partition("/")[0]
    api("projects.create", name=f"{place}/language")
    form = filled(web.get(f"/projects/{project}/edit"), "/projects/")
    reply = web.post(f"/projects/{project}/edit", **form | {"name": "language", "description": "kept words"})
    assert reply.status_code == 400
    assert "There is already a project called “language” there" in reply.text and "kept words" in reply.text


def test_of_two_people_who_edit_one_project_the_second_is_told(web: Web, api: ApiClient, project: str) -> None:
    form = filled(web.get(f"/projects/{project}/edit"), "/projects/")
    api("projects.update", project=project, description="theirs")
    reply = web.post(f"/projects/{project}/edit", **form | {"description": "mine"})
    assert reply.status_code == 409 and "This project was changed since you opened the form" in reply.text
    assert ">theirs</pre>" in reply.text and ">\nmine</textarea>" in reply.text
    assert api("projects.get_by_id", project=project)["project"]["description"] == "theirs"
    assert web.post(f"/projects/{project}/edit", **form | {"name": "language"}).status_code == 303
    assert api("projects.get_by_id", project=project)["project"]["description"] == "theirs"


def test_a_project_is_made_on_a_form_and_refusals_come_back_with_what_was_written(
    web: Web, api: ApiClient, project: str
) -> None:
    above = api("projects.get_by_id", project=project)["project"]["name"]
    assert 'href="/projects/new"' in web.get("/projects")
    assert "/projects/new?below=" in web.get(f"/projects/{project}")
    form = filled(web.get("/projects/new", params={"below": above}), "/projects") | {"name": "new one"}
    reply = web.post("/projects", **form | {"description": "of two\r\nlines"})
    assert reply.status_code == 303 and "Created." in web.get(reply.headers["Location"])
    made = reply.headers["Location"].split("/")[2].partition("?")[0]
    found = api("projects.get_by_id", project=made)["project"]
    assert (found["name"], found["description"]) == (f"{above}/new one", "of two\nlines")
    again = web.post("/projects", **form | {"description": HOSTILE})
    assert again.status_code == 400 and f"There is already a project called “{above}/new one” there" in again.text
    assert ESCAPED in again.text and HOSTILE not in again.text
    for wrong, words in (({"name": "x"}, "“x” is too short"), ({"name": " / "}, "Give the project a name"),
                         ({"location": "a"}, "“a” is too short")):  # fmt: skip
        refused = web.post("/projects", **form | wrong)
        assert refused.status_code == 422 and words in refused.text
        assert [target for target, _ in summary(refused.text)] == focused(refused.text) == [f"f-{next(iter(wrong))}"]


def test_what_is_deleted_is_counted_first_and_no_more_is_deleted(web: Web, api: ApiClient, project: str) -> None:
    make_task(api, "one", project=project)
    page = web.get(f"/projects/{project}/delete")
    assert "1 task." in page
    seen = re.search(r'name="seen" value="([0-9,]+)"', page)
    assert seen is not None
    late = make_task(api, "late", project=project)
    reply = web.post(f"/projects/{project}/delete", seen=seen[1])
    assert reply.status_code == 409
    assert "2 tasks." in reply.text
    assert api("tasks.get_by_id", task=late)["task"]["project"] == project
    seen = re.search(r'name="seen" value="([0-9,]+)"', reply.text)
    assert seen is not None
    assert web.post(f"/projects/{project}/delete", seen=seen[1]).status_code == 303
    web.get(f"/projects/{project}", status=404)
    assert api("tasks.get_all", id=[late])["tasks"] == []
