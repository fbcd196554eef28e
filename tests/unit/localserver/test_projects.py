from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from clearml_localserver.errors import ApiError
from clearml_localserver.rules import projects as rules

NOW, LATER = "2026-01-01T00:00:00.000000+00:00", "2026-01-02T00:00:00.000000+00:00"


def project(name: str, **fields: Any) -> rules.Project:
    return rules.new_project("id", name, fields.pop("parent", None), company="c", user="u", now=NOW, fields=fields)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("abc", "abc"),
        ("/abc", "abc"),
        ("abc//def/", "abc/def"),
        (" abc / de f ", "abc/de f"),
        ("Amazon reviews/.datasets/x y z", "Amazon reviews/.datasets/x y z"),
        ("日本語", "日本語"),
    ],
)
def test_paths(name: str, path: str) -> None:
    assert rules.path_of(name) == path


@pytest.mark.parametrize(("name", "subcode"), [("", 407), ("//", 407), ("ab", 12), ("abc/ d /efg", 12)])
def test_no_paths(name: str, subcode: int) -> None:
    with pytest.raises(ApiError) as refused:
        rules.path_of(name)
    assert refused.value.subcode == subcode


@pytest.mark.parametrize(
    ("path", "above", "last"),
    [("abc", "", "abc"), ("abc/def", "abc", "def"), ("abc/def/ghi", "abc/def", "ghi")],
)
def test_parts_of_a_path(path: str, above: str, last: str) -> None:
    assert (rules.parent_path(path), rules.basename(path)) == (above, last)
    assert rules.joined(above, last) == path


@pytest.mark.parametrize(
    ("path", "other", "inside"),
    [
        ("abc", "abc", True),
        ("abc/def", "abc", True),
        ("abcd", "abc", False),
        ("abc", "abc/def", False),
        ("", "abc", False),
    ],
)
def test_lying_inside(path: str, other: str, inside: bool) -> None:
    assert rules.lies_in(path, other) is inside


def test_a_new_project() -> None:
    made = project("abc/def", parent="p", tags=["t"], description="d")
    assert made == {
        "id": "id",
        "company": "c",
        "user": "u",
        "name": "abc/def",
        "basename": "def",
        "description": "d",
        "created": NOW,
        "last_update": NOW,
        "tags": ["t"],
        "system_tags": [],
        "featured": 9999,
        "parent": "p",
    }
    assert "parent" not in project("abc")


def test_another_place() -> None:
    there = rules.placed(project("abc/def", parent="p"), "def", None, LATER)
    assert (there["name"], there["basename"], there["last_update"]) == ("def", "def", LATER)
    assert "parent" not in there
    below = [project("abc/def/x"), project("abc/def/x/abc/def")]
    assert [item["name"] for item in rules.renamed_below(below, "abc/def", "new")] == ["new/x", "new/x/abc/def"]


def deletable(*, force: bool = False, **held: int) -> None:
    nothing = {"tasks": 0, "models": 0, "datasets": 0, "pipelines": 0}
    rules.require_deletable("id", force=force, **nothing | held)


REFUSALS: list[tuple[Callable[[], None], int | None]] = [
    (lambda: rules.require_rename(project("abc/def"), "abc/new"), None),
    (lambda: rules.require_rename(project("abc/def"), "new/def"), 408),
    (lambda: rules.require_rename(project("abc"), "new/abc"), 408),
    (lambda: rules.require_move(project("abc/def"), "new"), None),
    (lambda: rules.require_move(project("abc/def"), ""), None),
    (lambda: rules.require_move(project("abc/def"), "abc"), 410),
    (lambda: rules.require_move(project("abc"), ""), 410),
    (lambda: rules.require_move(project("abc"), "abc"), 411),
    (lambda: rules.require_move(project("abc"), "abc/def/ghi"), 411),
    (lambda: rules.require_move(project("abc"), "abcd"), None),
    (lambda: deletable(), None),
    (lambda: deletable(tasks=1, models=1), 402),
    (lambda: deletable(models=1, datasets=1), 405),
    (lambda: deletable(datasets=1), 406),
    (lambda: deletable(pipelines=1), 413),
    (lambda: deletable(force=True, tasks=1, models=1, datasets=1, pipelines=1), None),
]


@pytest.mark.parametrize(("require", "subcode"), REFUSALS)
def test_what_is_refused(require: Callable[[], None], subcode: int | None) -> None:
    if subcode is None:
        require()
        return
    with pytest.raises(ApiError) as refused:
        require()
    assert (refused.value.code, refused.value.subcode) == (400, subcode)
