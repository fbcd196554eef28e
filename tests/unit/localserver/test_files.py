"""Names, ranges and the folder of the file server, without a server."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from localserver.errors import ApiError
from localserver.files import _single_range
from localserver.stored_files import PARTIAL, Folder, stored_parts


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("/project/task/model.pkl", ("project", "task", "model.pkl")),
        ("a//b/./c", ("a", "b", "c")),
        ("a/x/../b", ("a", "b")),
        ("a%2Fb", ("a%2Fb",)),
        ("a?b#c;d", ("a?b#c;d",)),
        ("ünï/código", ("ünï", "código")),
        ("a\\..\\b", ("a\\..\\b",)),
        ("...", ("...",)),
        (f"a/{PARTIAL}", ("a", PARTIAL)),
    ],
)
def test_a_name_is_taken_literally_below_the_root(name: str, parts: tuple[str, ...]) -> None:
    assert stored_parts(name) == parts


@pytest.mark.parametrize("name", ["", "/", ".", "..", "../x", "a/../../x", "/../etc/passwd", "a\0b", f"{PARTIAL}/x"])
def test_a_name_that_leads_out_of_the_root_or_nowhere_is_not_found(name: str) -> None:
    with pytest.raises(ApiError) as refused:
        stored_parts(name)
    assert refused.value.code == 404


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("bytes=0-3", (0, 4)),
        ("bytes=4-", (4, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-30", (0, 10)),
        ("bytes=8-99", (8, 10)),
        ("Bytes = 0-0", (0, 1)),
        ("bytes=10-", None),
        ("bytes=5-4", None),
        ("bytes=-0", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("bytes=0-1,3-4", None),
        ("lines=0-1", None),
        ("bytes", None),
    ],
)
def test_ranges(text: str, part: tuple[int, int] | None) -> None:
    assert _single_range(text, 10) == part


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "files")


def put(folder: Folder, *names: str) -> list[str]:
    files = {}
    for index, name in enumerate(names):
        files[name] = folder.partial / str(index)
        files[name].write_text(name)
    return folder.publish(files)


def tree(folder: Folder) -> set[str]:
    return {str(path.relative_to(folder.root)) for path in folder.root.rglob("*") if path != folder.partial}


def test_published_files_are_where_their_names_say(folder: Folder) -> None:
    assert put(folder, "/a/b.txt", "c") == ["a/b.txt", "c"]
    with folder.open("a//b.txt") as file:
        assert file.read() == b"/a/b.txt"
    assert tree(folder) == {"a", "a/b.txt", "c"}


@pytest.mark.parametrize("names", [["a"], ["a/b.txt/c"], ["new", "a"], ["x", "x/y"]])
def test_a_file_and_a_folder_of_one_name_conflict_and_nothing_is_stored(folder: Folder, names: list[str]) -> None:
    put(folder, "a/b.txt")
    with pytest.raises(ApiError) as refused:
        put(folder, *names)
    assert refused.value.code == 409
    assert {name for name in tree(folder) if not name.startswith(PARTIAL)} == {"a", "a/b.txt"}


def test_deleting_the_last_file_of_a_folder_frees_the_folder_name(folder: Folder) -> None:
    put(folder, "a/b/c", "a/d")
    assert folder.delete("/a/b/c") == "a/b/c"
    assert tree(folder) == {"a", "a/d"}
    folder.delete("a/d")
    assert put(folder, "a") == ["a"]


def test_a_folder_goes_only_when_folders_may(folder: Folder) -> None:
    put(folder, "a/b/c", "a/d", "e")
    with pytest.raises(ApiError) as refused:
        folder.delete("a")
    assert (refused.value.code, refused.value.msg) == (404, "File a not found")
    assert folder.delete("a", with_folders=True) == "a"
    assert tree(folder) == {"e"}


@pytest.mark.parametrize("name", ["link", "link/secret", "up"])
def test_symbolic_links_do_not_lead_out(folder: Folder, tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("secret")
    os.symlink(tmp_path, folder.root / "link")
    os.symlink(tmp_path / "secret", folder.root / "up")
    for action in (folder.open, folder.delete, lambda name: put(folder, name)):
        with pytest.raises(ApiError) as refused:
            action(name)
        assert refused.value.code == 404
    assert (tmp_path / "secret").read_text() == "secret"


def test_what_a_killed_upload_left_is_removed_at_the_next_start(folder: Folder) -> None:
    put(folder, "kept")
    (folder.partial / "half").write_text("half")
    again = Folder(folder.root)
    assert list(again.partial.iterdir()) == []
    assert tree(again) == {"kept"}
