"""Models are changed in place and together on the web pages, over HTTP."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.api_client import ApiClient
from tests.integration.web.pages import ESCAPED, HOSTILE, NO_ID, Web, filled, focused, make_task, summary

pytestmark = pytest.mark.integration


def make_model(api: ApiClient, name: str = "a model", **fields: object) -> str:
    made = {"name": name, "uri": "http://elsewhere.example/m", "ready": False} | fields
    return str(api("models.create", **made)["id"])


def stored(api: ApiClient, model: str) -> dict[str, object]:
    found: dict[str, object] = api("models.get_by_id", model=model)["model"]
    return {name: value for name, value in found.items() if not name.startswith("last_")}


def test_a_model_is_changed_on_a_form_and_an_unchanged_form_changes_nothing(web: Web, api: ApiClient) -> None:
    model = make_model(api, comment=HOSTILE, tags=["one", "two"], labels={"cat": 1})
    before = stored(api, model)
    assert f"/models/{model}/edit" in web.get(f"/models/{model}")
    page = web.get(f"/models/{model}/edit")
    assert ESCAPED in page and HOSTILE not in page
    assert web.post(f"/models/{model}/edit", **filled(page, "/models/")).status_code == 303
    assert stored(api, model) == before
    project = f"Models {uuid4().hex[:6]}/here"
    changes = {"name": "better", "tags": "two\r\nthree", "labels": "cat=1\r\na=b=2", "comment": "", "project": project}
    assert web.post(f"/models/{model}/edit", **filled(page, "/models/") | changes).status_code == 303
    after = stored(api, model)
    assert (after["name"], after["tags"], after["labels"]) == ("better", ["two", "three"], {"cat": 1, "a=b": 2})
    assert after["comment"] == ""
    assert api("projects.get_by_id", project=after["project"])["project"]["name"] == project
    wrong = web.post(
        f"/models/{model}/edit", **filled(web.get(f"/models/{model}/edit"), "/models/") | {"labels": "cat=x"}
    )
    assert wrong.status_code == 422 and "“cat=x” is not of the form" in wrong.text
    assert [target for target, _ in summary(wrong.text)] == focused(wrong.text) == ["f-labels"]
    assert stored(api, model) == after


def test_who_edits_what_another_person_has_changed_is_told(web: Web, api: ApiClient) -> None:
    model = make_model(api)
    form = filled(web.get(f"/models/{model}/edit"), "/models/")
    api("models.edit", model=model, name="their name", comment="their comment")
    reply = web.post(f"/models/{model}/edit", **form | {"name": "my name"})
    assert reply.status_code == 409 and "This model was changed since you opened the form" in reply.text
    assert "their name" in reply.text and "my name" in reply.text
    assert stored(api, model)["name"] == "their name"
    assert web.post(f"/models/{model}/edit", **filled(reply.text, "/models/")).status_code == 303
    after = stored(api, model)
    assert (after["name"], after["comment"]) == ("my name", "their comment")


def test_selected_models_are_changed_together_and_the_change_can_be_undone(web: Web, api: ApiClient) -> None:
    project = api("projects.create", name=f"Many {uuid4().hex[:6]}")["id"]
    ids = [make_model(api, f"model {number}", project=project) for number in range(3)]
    page = web.get(f"/projects/{project}/models")
    assert 'formaction="/selected/models/delete" data-ask class="danger"' in page
    question = web.get(f"/selected/models/archive?ids={','.join(ids)}")
    assert "Archive 3 models?" in question and "model 2" in question
    back = f"/projects/{project}/models"
    reply = web.post("/selected/models/archive", ids=",".join(ids), back=back)
    assert reply.status_code == 303 and reply.headers["Location"].startswith(f"{back}?notice=archive-many&changed=3")
    after = web.get(reply.headers["Location"])
    assert "Archived: 3." in after and 'action="/selected/models/restore"' in after
    assert all(stored(api, id_)["system_tags"] == ["archived"] for id_ in ids)
    assert "model 2" not in web.get(back) and "model 2" in web.get(f"{back}?archived=1")
    assert "/selected/models/restore" in web.get(f"{back}?archived=1")
    web.post("/selected/models/restore", ids=",".join(ids), back=back)
    assert web.post("/selected/models/tag", ids=",".join(ids), add="good", back=back).status_code == 303
    assert all((stored(api, id_)["tags"], stored(api, id_)["system_tags"]) == (["good"], []) for id_ in ids)
    assert web.post("/selected/models/move", ids=ids[0], project=f"Else {project}").status_code == 303
    assert web.post("/selected/models/publish", ids=",".join(ids[:2])).status_code == 303
    again = web.post("/selected/models/publish", ids=",".join([*ids, NO_ID]))
    assert "Published: 1." in again.text and "3 models were refused" in again.text and f"/models/{ids[0]}" in again.text
    web.get(f"/selected/models/enqueue?ids={ids[0]}", status=404)


def test_models_that_are_deleted_are_counted_and_a_used_one_is_named(web: Web, api: ApiClient) -> None:
    used, free = make_model(api, "used"), make_model(api, "free")
    task = make_task(api)
    api("tasks.add_or_update_model", task=task, name="input", model=used, type="input")
    assert "Delete 2 models?" in web.get(f"/selected/models/delete?ids={used},{free}")
    reply = web.post("/selected/models/delete", ids=f"{used},{free}", files="1")
    assert "Deleted: 1." in reply.text and "1 model was refused" in reply.text
    assert "Model is used by tasks" in reply.text
    assert "1 file lies on other servers" in reply.text
    web.get(f"/models/{free}", status=404)


def test_models_are_listed_with_their_metadata(web: Web, api: ApiClient) -> None:
    project = api("projects.create", name=f"Metadata {uuid4().hex[:6]}")["id"]
    for number in range(3):
        values = {"accuracy": f"0.{number}", HOSTILE: "x", "rare": "only here"}
        metadata = [{"key": key, "value": value, "type": "str"} for key, value in values.items()][: 2 + (number == 1)]
        model = api("models.create", name=f"model {number}", uri="file:///m", project=project)["id"]
        api("models.add_or_update_metadata", model=model, metadata=metadata)
    page = web.get(f"/projects/{project}/models")
    assert ESCAPED in page and HOSTILE not in page and page.count(">0.2</td>") == 1
    assert page.count('<th scope="col" title=') == 3
    chosen = web.get(f"/projects/{project}/models?meta=rare&meta=nobody%20has%20it")
    assert chosen.count('<th scope="col" title=') == 2 and ">only here</td>" in chosen and ">0.2</td>" not in chosen
    assert 'name="meta" value="rare" checked' in chosen and 'name="meta" value="accuracy">' in chosen
