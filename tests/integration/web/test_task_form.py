"""Tasks are changed in place on the web pages, over HTTP."""

from __future__ import annotations

import re
from uuid import uuid4

import pytest

from tests.api_client import ApiClient
from tests.integration.web.pages import ESCAPED, HOSTILE, Web, filled, focused, make_task, status_of, summary

pytestmark = pytest.mark.integration


def draft(api: ApiClient, script: dict[str, str] | None = None) -> str:
    lr = {"section": "Args", "name": "lr", "value": "0.1", "type": "float"}
    return make_task(
        api,
        "a draft",
        comment=HOSTILE,
        tags=["one", "two"],
        hyperparams={"Args": {"lr": lr, "seed": {"section": "Args", "name": "seed", "value": "1"}}},
        configuration={"Model": {"name": "Model", "value": "layers: 3\nwide: true\n", "type": "yaml"}},
        script={"requirements": {"pip": "torch\n"}, "entry_point": "train.py", "branch": "main"} | (script or {}),
        container={"image": "python:3.11", "arguments": "--gpus all"},
    )


def stored(api: ApiClient, task: str) -> dict[str, object]:
    found: dict[str, object] = api("tasks.get_by_id", task=task)["task"]
    return {name: value for name, value in found.items() if not name.startswith(("last_", "status"))}


def test_an_unchanged_form_changes_nothing(web: Web, api: ApiClient) -> None:
    task = draft(api)
    before = stored(api, task)
    page = web.get(f"/tasks/{task}/edit")
    assert ESCAPED in page and HOSTILE not in page
    assert web.post(f"/tasks/{task}/edit", **filled(page, "/tasks/")).status_code == 303
    assert stored(api, task) == before


def test_everything_that_a_draft_runs_with_is_changed_on_one_form(web: Web, api: ApiClient) -> None:
    task, project = draft(api), f"Moved {uuid4().hex[:6]}/here"
    changes = {
        "name": "another name",
        "project": project,
        "tags": "two\r\nthree, with a comma",
        "comment": "",
        "p:Args/lr": "0.5",
        "added": "Args/rows=10\r\nOther/x y=a=b",
        "c:Model": "layers: 4\r\n",
        "s:entry_point": "other.py",
        "r:pip": "torch==2\r\n",
        "d:image": "python:3.12",
    }
    form = filled(web.get(f"/tasks/{task}/edit"), "/tasks/") | changes
    reply = web.post(f"/tasks/{task}/edit", **form)
    assert reply.status_code == 303, reply.text[-2000:]
    found = api("tasks.get_by_id", task=task)["task"]
    assert (found["name"], found["comment"], sorted(found["tags"])) == (
        "another name",
        "",
        ["three, with a comma", "two"],
    )
    assert api("projects.get_by_id", project=found["project"])["project"]["name"] == project
    args = found["hyperparams"]["Args"]
    assert (args["lr"]["value"], args["lr"]["type"], args["seed"]["value"]) == ("0.5", "float", "1")
    assert (args["rows"]["value"], found["hyperparams"]["Other"]["x y"]["value"]) == ("10", "a=b")
    assert (found["configuration"]["Model"]["value"], found["configuration"]["Model"]["type"]) == (
        "layers: 4\n",
        "yaml",
    )
    script = found["script"]
    assert (script["entry_point"], script["branch"], script["requirements"]) == (
        "other.py",
        "main",
        {"pip": "torch==2\n"},
    )
    assert (found["container"]["image"], found["container"]["arguments"]) == ("python:3.12", "--gpus all")


def test_many_parameters_are_folded_and_those_that_are_wrong_are_open(web: Web, api: ApiClient) -> None:
    values = {f"p{n:03d}": {"section": "Args", "name": f"p{n:03d}", "value": "1", "type": "int"} for n in range(201)}
    task = make_task(api, hyperparams={"Args": values})
    form = filled(web.get(f"/tasks/{task}/edit"), "/tasks/")
    reply = web.post(f"/tasks/{task}/edit", **form | {"p:Args/p150": "x", "p:Args/p000": "2"})
    groups = re.findall(r'<details class="group"( open)?><summary>(p\d+) to (p\d+)', reply.text)
    assert groups == [(" open", "p000", "p099"), (" open", "p100", "p199"), ("", "p200", "p200")]
    assert focused(reply.text) == ["f-p:Args/p150"]
    again = filled(reply.text, "/tasks/") | {"p:Args/p150": "3"}
    assert web.post(f"/tasks/{task}/edit", **again).status_code == 303
    stored_values = [
        item["value"] for item in api("tasks.get_by_id", task=task)["task"]["hyperparams"]["Args"].values()
    ]
    assert stored_values == ["2", *["1"] * 149, "3", *["1"] * 50]


PATCH = "diff --git a/x b/x\n@@ -1,2 +1,2 @@\n a\r\n-b\x0c\r\n+c\r\n"
PRIVATE = {"repository": "https://me:t0ken@git.example/x.git", "version_num": "abc", "diff": PATCH}


def test_the_script_of_a_draft_is_changed_and_keeps_what_was_not_touched(web: Web, api: ApiClient) -> None:
    task = draft(api, PRIVATE)
    page = web.get(f"/tasks/{task}/edit")
    form = filled(page, "/tasks/")
    assert web.post(f"/tasks/{task}/edit", **form).status_code == 303
    assert stored(api, task)["script"]["diff"] == PATCH  # type: ignore[index]
    changes = {
        "s:diff": form["s:diff"].replace("+c", f"+{HOSTILE}"),
        "s:branch": "next",
        "s:version_num": "",
        "s:tag": "v2",
        "s:working_dir": "jobs",
        "s:repository": "https://***@git.example/y.git",
    }
    assert web.post(f"/tasks/{task}/edit", **form | changes).status_code == 303
    script = api("tasks.get_by_id", task=task)["task"]["script"]
    assert script["diff"] == PATCH.replace("+c", f"+{HOSTILE}")
    assert script["repository"] == "https://me:t0ken@git.example/y.git"
    parts = [script[name] for name in ("branch", "version_num", "tag", "working_dir", "entry_point")]
    assert parts == ["next", "", "v2", "jobs", "train.py"]
    for path in ("edit", "overview"):
        page = web.get(f"/tasks/{task}/{path}")
        assert ESCAPED in page and HOSTILE not in page and "v2" in page
    script_only = {"s:repository": "", "s:diff": "print('x')\r\n"}
    assert web.post(
        f"/tasks/{task}/edit", **filled(web.get(f"/tasks/{task}/edit"), "/tasks/") | script_only
    ).is_redirect
    script = api("tasks.get_by_id", task=task)["task"]["script"]
    assert (script["repository"], script["diff"]) == ("", "print('x')\n")


def test_credentials_of_a_repository_are_on_no_page(web: Web, api: ApiClient) -> None:
    requirements = {"requirements": {"pip": "a @ git+https://t0ken@git.example/a\nb==1\n"}}
    task, other = draft(api, PRIVATE | requirements), draft(api, PRIVATE)  # type: ignore[operator]
    form = filled(web.get(f"/tasks/{task}/edit"), "/tasks/")
    api("tasks.edit", task=task, script={"repository": "https://me:t0ken2@git.example/z.git"})
    conflict = web.post(f"/tasks/{task}/edit", **form | {"s:repository": "https://***@git.example/q.git"})
    moved = filled(conflict.text, "/tasks/") | {"s:repository": "https://***@elsewhere.example/x.git"}
    refused = web.post(f"/tasks/{task}/edit", **moved)
    pages = [web.get(f"/tasks/{task}/{name}") for name in ("edit", "overview", "clone")]
    pages += [web.get(f"/compare?ids={task},{other}&tab=parameters&all=1"), conflict.text, refused.text]
    assert (conflict.status_code, refused.status_code) == (409, 422)
    assert focused(refused.text) == ["f-s:repository"] and "credentials that are not shown" in refused.text
    for page in pages:
        assert "t0ken" not in page
    assert "https://***@git.example/z.git" in pages[1] and "git+https://***@git.example/a" in pages[1]
    assert web.post(f"/tasks/{task}/edit", **form | {"r:pip": form["r:pip"].replace("b==1", "b==2")}).is_redirect
    script = api("tasks.get_by_id", task=task)["task"]["script"]
    assert script["requirements"] == {"pip": "a @ git+https://t0ken@git.example/a\nb==2\n"}
    assert script["repository"] == "https://me:t0ken2@git.example/z.git"


def test_what_a_script_lost_or_outgrew_meanwhile_is_still_in_the_form_that_changes_it(web: Web, api: ApiClient) -> None:
    task = draft(api, {"requirements": {"pip": "", "conda": "c"}, "diff": "print(1)\n"})  # type: ignore[dict-item]
    form = filled(web.get(f"/tasks/{task}/edit"), "/tasks/")
    api("tasks.edit", task=task, script={"requirements": {"pip": "p"}, "diff": "x = 1\n" * 400_000})
    page = web.get(f"/tasks/{task}/edit")
    assert "s:diff" not in page and "Text: 2,400,000 characters are too many for this form" in page
    reply = web.post(f"/tasks/{task}/edit", **form | {"r:conda": "d", "s:diff": "print(2)"})
    assert reply.status_code == 409
    assert [target for target, _ in summary(reply.text)] == ["f-s:diff", "f-r:conda"]
    assert web.post(f"/tasks/{task}/edit", **form | {"name": "renamed"}).is_redirect


def test_of_two_people_who_edit_one_draft_the_second_is_told_and_loses_nothing(web: Web, api: ApiClient) -> None:
    task = draft(api)
    mine = filled(web.get(f"/tasks/{task}/edit"), "/tasks/") | {"p:Args/lr": "0.3", "name": "my name"}
    theirs = filled(web.get(f"/tasks/{task}/edit"), "/tasks/") | {"p:Args/lr": "0.2", "comment": "their comment"}
    assert web.post(f"/tasks/{task}/edit", **theirs).status_code == 303
    reply = web.post(f"/tasks/{task}/edit", **mine)
    assert reply.status_code == 409
    again = filled(reply.text, "/tasks/")
    assert "Changed meanwhile. The stored value is now:" in reply.text and ">0.2</pre>" in reply.text
    assert (again["p:Args/lr"], again["name"], again["comment"]) == ("0.3", "my name", "their comment")
    assert stored(api, task)["name"] == "a draft", "nothing is saved before the second person has looked"
    assert web.post(f"/tasks/{task}/edit", **again).status_code == 303
    found = api("tasks.get_by_id", task=task)["task"]
    assert (found["name"], found["comment"], found["hyperparams"]["Args"]["lr"]["value"]) == (
        "my name",
        "their comment",
        "0.3",
    )


def test_changes_of_two_people_to_different_fields_are_both_kept(web: Web, api: ApiClient) -> None:
    task = draft(api)
    mine = filled(web.get(f"/tasks/{task}/edit"), "/tasks/") | {"name": "my name"}
    api("tasks.update", task=task, comment="from elsewhere")
    assert web.post(f"/tasks/{task}/edit", **mine).status_code == 303
    found = api("tasks.get_by_id", task=task)["task"]
    assert (found["name"], found["comment"]) == ("my name", "from elsewhere")


def test_parameters_sections_and_objects_are_added_renamed_and_deleted(web: Web, api: ApiClient) -> None:
    task = draft(api)
    page = web.get(f"/tasks/{task}/edit")
    form = filled(page, "/tasks/")
    ticks = dict(re.findall(r'<input type="checkbox" name="([^"]*)" value="([^"]*)"', page))
    changes = {
        "n:Args/lr": "rate",
        "p:Args/lr": "0.2",
        "x:p:Args/seed": ticks["x:p:Args/seed"],
        "g:Args": "Options",
        "added": "Args/lr=new",
        "x:c:Model": ticks["x:c:Model"],
        "object-name": "Data",
        "object-text": "a: 1\r\nb: 2",
    }
    assert web.post(f"/tasks/{task}/edit", **form | changes).status_code == 303
    found = api("tasks.get_by_id", task=task)["task"]
    values = {section: {name: item["value"] for name, item in items.items()}
              for section, items in found["hyperparams"].items()}  # fmt: skip
    assert values == {"Options": {"rate": "0.2"}, "Args": {"lr": "new"}}
    assert found["hyperparams"]["Options"]["rate"]["type"] == "float"
    assert {name: item["value"] for name, item in found["configuration"].items()} == {"Data": "a: 1\nb: 2"}
    page = web.get(f"/tasks/{task}/edit")
    ticks = dict(re.findall(r'<input type="checkbox" name="([^"]*)" value="([^"]*)"', page))
    form = filled(page, "/tasks/")
    assert web.post(f"/tasks/{task}/edit", **form | {"x:g:Args": ticks["x:g:Args"]}).status_code == 303
    assert list(api("tasks.get_by_id", task=task)["task"]["hyperparams"]) == ["Options"]


def test_a_configuration_object_is_renamed_and_loses_nothing(web: Web, api: ApiClient) -> None:
    task = draft(api)
    form = filled(web.get(f"/tasks/{task}/edit"), "/tasks/")
    assert web.post(f"/tasks/{task}/edit", **form | {"o:Model": "Net"}).status_code == 303
    model = {"name": "Net", "value": "layers: 3\nwide: true\n", "type": "yaml"}
    assert api("tasks.get_by_id", task=task)["task"]["configuration"]["Net"].items() >= model.items()
    taken = web.post(f"/tasks/{task}/edit", **form | {"o:Model": "Other"})
    assert taken.status_code == 409 and "so it is not renamed again: Model" in taken.text, "renamed meanwhile"
    edited = web.post(f"/tasks/{task}/edit", **form | {"c:Model": "mine"}).text
    assert edited.count("renamed or deleted meanwhile. Saving again adds it.") == 2 and "now empty" not in edited
    assert list(api("tasks.get_by_id", task=task)["task"]["configuration"]) == ["Net"]


def test_the_queue_of_a_draft_is_kept_and_offered_when_it_is_enqueued(web: Web, api: ApiClient) -> None:
    task, names = draft(api), ["served", "chosen", "of another person"]
    served, chosen, other = (api("queues.create", name=f"{name} {uuid4().hex[:6]}")["id"] for name in names)
    api("workers.register", worker="serves", queues=[served])
    page = web.get(f"/tasks/{task}/edit")
    assert "selected>Chosen when it is enqueued" in page
    mine = filled(page, "/tasks/") | {"queue": chosen}
    assert web.post(f"/tasks/{task}/edit", **mine).status_code == 303
    assert api("tasks.get_by_id", task=task)["task"]["execution"]["queue"] == chosen
    for path in (f"/tasks/{task}/enqueue", f"/selected/tasks/enqueue?ids={task}", f"/tasks/{task}/edit"):
        assert re.search(rf'<option value="{chosen}" selected>chosen', web.get(path)), path
    theirs = web.post(f"/tasks/{task}/edit", **mine | {"queue": other})
    assert theirs.status_code == 409 and re.search(r"Stored value of Queue.>chosen", theirs.text), "in words"
    assert f'<option value="{other}" selected>' in theirs.text
    api("queues.delete", queue=chosen)
    page = web.get(f"/tasks/{task}/edit")
    assert f'<option value="{chosen}" selected>{chosen} (deleted)' in page
    form = filled(page, "/tasks/") | {"queue": chosen}
    assert web.post(f"/tasks/{task}/edit", **form | {"comment": "changed"}).status_code == 303
    assert web.post(f"/tasks/{task}/edit", **form | {"queue": ""}).status_code == 303
    assert not api("tasks.get_by_id", task=task)["task"]["execution"].get("queue")
    offered = re.search(r'<option value="(\w+)" selected>', web.get(f"/tasks/{task}/enqueue"))
    # One that is served; which one, other tests of this server have a say in.
    assert offered and offered[1] in {
        queue["id"] for worker in api("workers.get_all")["workers"] for queue in worker["queues"]
    }
    api("workers.unregister", worker="serves")


def test_a_task_that_had_a_pod_is_offered_the_queue_that_it_was_put_into(web: Web, api: ApiClient) -> None:
    """The agent's glue moves a task to its own queue while it makes the pod, and the task keeps that queue."""
    task, name = draft(api), f"pods {uuid4().hex[:6]}"
    queue = api("queues.create", name=name)["id"]
    first = api("queues.create", name=f"a first {name}")["id"]
    api("workers.register", worker=f"glue {name}", queues=[queue])
    api("workers.register", worker=f"other {name}", queues=[first])
    found = api("queues.get_all", name="^k8s_scheduler$", search_hidden=True)["queues"]
    pods_queue = found[0]["id"] if found else api("queues.create", name="k8s_scheduler")["id"]
    noted = {"section": "properties", "name": "k8s-queue", "value": name}
    api("tasks.edit_hyper_params", task=task, hyperparams=[noted], force=True)
    api("tasks.enqueue", task=task, queue=pods_queue)
    api("tasks.started", task=task)
    api("tasks.failed", task=task)
    try:
        for path in (f"/tasks/{task}/enqueue", f"/selected/tasks/enqueue?ids={task}", f"/tasks/{task}/run"):
            assert re.search(rf'<option value="{queue}" selected>', web.get(path)), path
    finally:
        for worker in (f"glue {name}", f"other {name}"):
            api("workers.unregister", worker=worker)
        if not found:
            api("queues.delete", queue=pods_queue, force=True)


def test_who_deletes_or_renames_what_another_person_has_changed_is_told_first(web: Web, api: ApiClient) -> None:
    task = draft(api)
    page = web.get(f"/tasks/{task}/edit")
    ticks = dict(re.findall(r'<input type="checkbox" name="([^"]*)" value="([^"]*)"', page))
    mine = filled(page, "/tasks/") | {name: ticks[name] for name in ("x:p:Args/lr", "x:c:Model")} | {"n:Args/seed": "s"}
    theirs = {"task": task, "hyperparams": [{"section": "Args", "name": "lr", "value": "0.9"}]}
    api("tasks.edit_hyper_params", **theirs)
    api("tasks.delete_hyper_params", task=task, hyperparams=[{"section": "Args", "name": "seed"}])
    api("tasks.edit_configuration", task=task, configuration=[{"name": "Model", "value": "theirs"}])
    before = stored(api, task)
    reply = web.post(f"/tasks/{task}/edit", **mine)
    assert reply.status_code == 409 and stored(api, task) == before
    assert reply.text.count("look at what it is now before it is deleted") == 2
    assert [target for target, _ in summary(reply.text)] == ["f-x:p:Args/lr", "", "f-x:c:Model"]
    assert not focused(reply.text), "the summary is read before a field is filled again"
    assert "so it is not renamed again: Args/seed" in reply.text and 'value="0.9"' in reply.text
    again = filled(reply.text, "/tasks/")
    assert {"x:p:Args/lr", "x:c:Model"} <= set(again), "the ticks are still set"
    assert web.post(f"/tasks/{task}/edit", **again).status_code == 303
    assert (stored(api, task)["hyperparams"], stored(api, task)["configuration"]) == ({}, {})


@pytest.mark.parametrize(
    ("field", "change", "message"),
    [
        ("f-n:Args/lr", {"n:Args/lr": "seed"}, "“Args/seed” exists already."),
        ("f-n:Args/lr", {"n:Args/lr": " "}, "A parameter has a name."),
        ("f-g:Args", {"g:Args": "a/b"}, "A section of parameters cannot have this name."),
        ("f-o:Model", {"o:Model": " "}, "A configuration object has a name."),
        (
            "object-name",
            {"o:Model": "Data", "object-name": "Data"},
            "There is a configuration object called “Data” already.",
        ),
        ("f-queue", {"queue": "0" * 32}, "The queue that you chose is not there any more."),
        ("object-name", {"object-name": "Model"}, "There is a configuration object called “Model” already."),
        ("object-name", {"object-text": "x"}, "A configuration object has a name."),
        ("f-p:Args/lr", {"p:Args/lr": "fast"}, "is not of type float"),
        ("f-name", {"name": "x"}, "at least 3 characters"),
        ("f-project", {"project": "/a//b/"}, "“a” is too short: each part has at least 3 characters"),
        ("added", {"added": "rows"}, "is not of the form Section/name=value"),
        ("added", {"added": "Args/lr=3"}, "it exists"),
    ],
)
def test_a_wrong_value_comes_back_with_the_reason(
    web: Web, api: ApiClient, field: str, change: dict[str, str], message: str
) -> None:
    task = draft(api)
    before = stored(api, task)
    form = filled(web.get(f"/tasks/{task}/edit"), "/tasks/") | {"comment": "kept"} | change
    reply = web.post(f"/tasks/{task}/edit", **form)
    assert reply.status_code == 422
    [(target, words)] = summary(reply.text)
    assert target == field and message in words
    assert focused(reply.text) == [field]
    assert filled(reply.text, "/tasks/")["comment"] == "kept"
    assert stored(api, task) == before


def test_a_refused_form_names_all_that_is_wrong_in_the_order_of_the_page(web: Web, api: ApiClient) -> None:
    task = make_task(api, hyperparams={"Args": {HOSTILE: {"section": "Args", "name": HOSTILE, "value": "1"}}})
    form = filled(web.get(f"/tasks/{task}/edit"), "/tasks/")
    [key] = [name for name in form if name.startswith("n:")]
    reply = web.post(f"/tasks/{task}/edit", **form | {key: "", "object-text": "x", "added": "rows", "name": "x"})
    assert [target for target, _ in summary(reply.text)] == ["f-name", f"f-{key}", "added", "object-name"]
    assert focused(reply.text) == ["f-name"] and HOSTILE not in reply.text
    run = web.post(f"/tasks/{draft(api)}/run", **{"name": "new run", "Args/lr": "fast"})
    assert (run.status_code, focused(run.text)) == (422, ["p-Args/lr"])
    assert summary(run.text) == [("p-Args/lr", "lr: 'fast' is not of type float")]


def test_the_form_of_a_task_that_was_deleted_meanwhile_can_be_copied_and_not_sent(web: Web, api: ApiClient) -> None:
    task = draft(api)
    form = filled(web.get(f"/tasks/{task}/edit"), "/tasks/") | {"added": "Args/rows=10", "name": "my name"}
    api("tasks.delete", task=task)
    reply = web.post(f"/tasks/{task}/edit", **form)
    assert reply.status_code == 404 and "Copy what you want to keep." in reply.text
    assert "New parameters" in reply.text and 'value="my name"' in reply.text
    assert "Send again" not in reply.text and "send it again" not in reply.text


def test_a_draft_that_was_started_meanwhile_keeps_its_parameters(web: Web, api: ApiClient) -> None:
    task = draft(api)
    form = filled(web.get(f"/tasks/{task}/edit"), "/tasks/") | {"p:Args/lr": "0.7", "name": "other"}
    api("tasks.started", task=task)
    reply = web.post(f"/tasks/{task}/edit", **form)
    assert reply.status_code == 400
    assert "no longer a draft" in reply.text and filled(reply.text, "/tasks/")["p:Args/lr"] == "0.7"
    assert stored(api, task)["name"] == "a draft"
    page = web.get(f"/tasks/{task}/edit")
    assert "p:Args/lr" not in page
    assert web.post(f"/tasks/{task}/edit", **(filled(page, "/tasks/") | {"name": "other"})).status_code == 303
    assert stored(api, task)["name"] == "other"


def test_a_task_is_published_after_a_question(web: Web, api: ApiClient) -> None:
    task = draft(api)
    assert web.post(f"/tasks/{task}/publish").status_code == 409
    api("tasks.started", task=task)
    api("tasks.stopped", task=task)
    assert "cannot be undone" in web.get(f"/tasks/{task}/publish")
    assert web.post(f"/tasks/{task}/publish").status_code == 303
    assert status_of(api, task) == "published"


def test_a_dataset_version_is_described_and_published_like_any_task(web: Web, api: ApiClient) -> None:
    version = make_task(api, "reviews", type="data_processing", system_tags=["dataset"])
    api("tasks.edit", task=version, runtime={"version": "1.0"})
    for status in ("started", "completed"):
        api(f"tasks.{status}", task=version)
    page = web.get(f"/tasks/{version}/edit")
    changes = {"name": "reviews, cleaned", "tags": "train", "comment": "without duplicates"}
    assert web.post(f"/tasks/{version}/edit", **filled(page, "/tasks/") | changes).status_code == 303
    assert web.post(f"/tasks/{version}/publish").status_code == 303
    found = api("tasks.get_by_id", task=version)["task"]
    assert (found["name"], found["tags"], found["comment"]) == ("reviews, cleaned", ["train"], "without duplicates")
    assert (found["status"], found["system_tags"], found["runtime"]) == ("published", ["dataset"], {"version": "1.0"})
