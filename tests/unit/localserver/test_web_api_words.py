"""What passes between a page and the API: ids that are only ids, and refusals for people."""

from __future__ import annotations

import pytest
from clearml_localserver.web.api_words import NO_ID, PUBLIC, in_words, with_plain_ids

COMPANY = "0123456789abcdef0123456789abcdef"


def test_no_id_is_an_operator_of_the_api() -> None:
    query = {
        "id": ["a", "-b", "__$not", None],
        "tasks": {"project": ["-c"]},
        "system_tags": ["-archived"],
        "name": "-d",
    }
    assert with_plain_ids(query) == {
        "id": ["a", NO_ID, NO_ID, None],
        "tasks": {"project": [NO_ID]},
        "system_tags": ["-archived"],
        "name": "-d",
    }


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (f"Invalid task id: id=x y, company={COMPANY}", "There is no task with the id x y"),
        (f"Invalid model id: company={COMPANY}, id=m", "There is no model with the id m"),
        (
            f"Invalid model id (no such public or company model): id=m, company={COMPANY}",
            "There is no model with the id m",
        ),
        ("Invalid project id: id=p", "There is no project with the id p"),
        (f"Model is ready: company={COMPANY}, model=m", "It is published already"),
        (
            "Invalid task status (Invalid status change): current_status=created, new_status=published",
            "This is not possible for a task with the status draft",
        ),
        (
            "Invalid task status: task_id=t, status=published",
            "This is not possible for a task with the status published",
        ),
        (
            "Invalid task status: expected=created, status=in_progress",
            "Only a draft can be changed like this; it has the status running",
        ),
        (
            "Invalid task status (A stop was asked for, publish the task once it has ended): current_status=stopped, "
            "new_status=published",
            "A stop was asked for, publish the task once it has ended",
        ),
        (
            "Task cannot be deleted (due to status, use force=True): task=t, expected=created, current=completed",
            "It has the status completed. Only drafts can be deleted, and archived tasks that do not run and are not "
            "published",
        ),
        (
            "Task cannot be deleted (has children, use force=True): task=t, children=2",
            "It cannot be deleted: published tasks were made from it (2)",
        ),
        (
            "Task cannot be deleted (has output models, use force=True): task=t, models=1",
            "It can be neither deleted nor reset: its models were published (1)",
        ),
        (
            "Value combination already exists (unique field already contains this value): email=a@b.c",
            "There is already a person with the address a@b.c",
        ),
        (
            f"Value combination already exists (unique field already contains this value): name=n, company={COMPANY}",
            "There is already one with the name n",
        ),
        ("Data validation error: email=Invalid email address: {x}", "“{x}” is not an e-mail address"),
        (
            f"Project with the same name already exists: name=a/b, company={COMPANY}",
            "There is already a project called “a/b”",
        ),
        ("Validation error (Project name cannot be blank)", "Each part of a project's path has at least 3 characters"),
        (
            f"Model is used by tasks (as execution model, use force=True to delete): company={COMPANY}, num_tasks=1",
            "Model is used by tasks (as execution model): num_tasks=1",
        ),
        ("Queue is not empty (use force=true to delete): id=q", "Queue is not empty: id=q"),
        (f"A name: name=n, company={COMPANY}", "A name: name=n"),
        ("Forbidden (modification not allowed) (cannot modify public task(s), ids=('a',))", PUBLIC),
        (
            "Invalid user id (protected identity): this is the server's own; a",
            "Invalid user id (protected identity): this is the server's own; a",
        ),
        (
            f"Invalid queue id or task not in queue: task=t, id=q, company={COMPANY}",
            "Invalid queue id or task not in queue: task=t, id=q",
        ),
    ],
)
def test_a_refusal_has_words_for_people(message: str, words: str) -> None:
    assert in_words(message) == words
