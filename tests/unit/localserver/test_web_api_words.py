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
        (f"Model is ready: company={COMPANY}, model=m", "Model is ready: model=m"),
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
