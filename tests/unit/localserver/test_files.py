"""Names, ranges and the folder of the file server, without a server."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from clearml_localserver.errors import ApiError
from clearml_localserver.files import _file_headers, _single_range
from clearml_localserver.stored_files import MAX_FOLDERS, PARTIAL, Folder, require_storable, stored_parts
from clearml_localserver.uploads import disposition_parameters
from starlette.responses import FileResponse


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
        # What clients write in several ways is one name.
        ('a"b', ("a%22b",)),
        ("a\r\nb\x01", ("a%0D%0Ab%01",)),
        ("a\tb", ("ab",)),
        ("a\\\\b", ("a\\b",)),
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
        (f"bytes={'9' * 5000}-", None),
        ("bytes=²-", None),
    ],
)
def test_ranges(text: str, part: tuple[int, int] | None) -> None:
    assert _single_range(text, 10) == part


@pytest.mark.parametrize(
    ("name", "code", "text"),
    [
        ("d/" * MAX_FOLDERS + "f", None, ""),
        ("d/" * (MAX_FOLDERS + 1) + "f", 400, "lies below more than 100 folders"),
        ("d/" * 100_000 + "f", 400, "lies below more than 100 folders"),
        ("d" * 255, None, ""),
        ("é" * 128, 400, "longer than 255 bytes"),
        ("../f", 404, "not found"),
    ],
)
def test_a_file_is_not_stored_too_deep_or_under_too_long_a_name(name: str, code: int | None, text: str) -> None:
    if code is None:
        require_storable(name)
        return
    with pytest.raises(ApiError) as refused:
        require_storable(name)
    assert refused.value.code == code
    assert text in refused.value.msg
    assert len(refused.value.msg) < 400


@pytest.mark.parametrize(
    ("header", "parameters"),
    [
        (b'form-data; name="a/b.txt"; filename="f"', {b"name": b"a/b.txt", b"filename": b"f"}),
        (b'form-data; name="a; filename=%22; \\"; filename=f', {b"name": b"a; filename=%22; \\", b"filename": b"f"}),
        (b"form-data;name=\"a\";filename*=utf-8''f", {b"name": b"a", b"filename*": b"utf-8''f"}),
        (b"form-data", {}),
        (b"", {}),
    ],
)
def test_a_parts_parameters_are_read_by_htmls_rule(header: bytes, parameters: dict[bytes, bytes]) -> None:
    assert disposition_parameters(header) == parameters


@pytest.mark.parametrize(
    "header", [b'form-data; name="a\\"b"', b'form-data; name="a', b"form-data; name", b"form-data; ;"]
)
def test_a_header_that_says_two_things_is_refused(header: bytes) -> None:
    with pytest.raises(ApiError) as refused:
        disposition_parameters(header)
    assert refused.value.code == 400


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


def test_the_files_of_one_upload_lie_in_a_thousand_folders_at_most(folder: Folder) -> None:
    put(folder, *(f"{number}/f" for number in range(1000)))
    with pytest.raises(ApiError) as refused:
        put(folder, *(f"more/{number}/f" for number in range(1000)))
    assert refused.value.code == 413
    assert "more" not in tree(folder)


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


def test_names_that_the_sdk_encoded_are_found_by_the_plain_ones_too(folder: Folder) -> None:
    put(folder, "p %22%25/t%3A1/models/a%20b", "p/c%20d")
    for asked in ("p %22%25/t%3A1/models/a%20b", 'p "%/t:1/models/a%20b'):
        with folder.open(asked) as file:
            assert file.read() == b"p %22%25/t%3A1/models/a%20b"
    for missing in ("p/c d", 'p "%/t:1/models/a b'):
        with pytest.raises(ApiError):
            folder.open(missing)
    assert folder.delete('p "%/t:1/models/a%20b') == "p %22%25/t%3A1/models/a%20b"
    assert tree(folder) == {"p", "p/c%20d"}


def test_files_that_an_earlier_version_stored_with_quotes_are_found(folder: Folder) -> None:
    (folder.root / 'a "b"').mkdir()
    (folder.root / 'a "b"' / "c").write_text("kept")
    for asked in ('a "b"/c', "a %22b%22/c"):
        with folder.open(asked) as file:
            assert file.read() == b"kept"
    assert folder.delete("a %22b%22/c") == 'a "b"/c'
    assert tree(folder) == set()


def test_what_takes_long_to_delete_holds_up_nobody(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    put(folder, "big/a", "big/b")
    removed = []

    def slowly(path: Path) -> None:
        put(folder, "meanwhile")
        removed.append(path)

    monkeypatch.setattr(shutil, "rmtree", slowly)
    assert folder.delete("big", with_folders=True) == "big"
    assert len(removed) == 1
    assert {name for name in tree(folder) if not name.startswith(PARTIAL)} == {"meanwhile"}


SCRIPTS = [
    *(f"{group}/{x}{name}script" for group in ("text", "application") for x in ("", "x-") for name in ("java", "ecma")),
    *(f"text/javascript1.{version}" for version in range(6)),
    "text/jscript",
    "text/livescript",
]
"""What browsers take for a script, by the WHATWG's list."""


@pytest.mark.parametrize("media_type", [*SCRIPTS, "text/css", "application/postscript", "text/html"])
def test_no_type_that_a_page_can_run_is_served(
    media_type: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which endings have one of these types is up to the machine's list of types."""
    monkeypatch.setattr("mimetypes.guess_type", lambda name: (media_type, None))
    served = _file_headers("any.thing", tmp_path.stat(), False)["Content-Type"].partition(";")[0]
    assert served == (media_type if media_type in ("application/postscript", "text/html") else "text/plain")


def test_a_file_stored_over_one_of_its_size_and_time_has_another_tag(folder: Folder) -> None:
    """The file system's clock ticks every few milliseconds, so that size and time (the framework's tag) do not do."""
    tags, framework_tags = [], []
    for content in ("one", "two"):
        file = folder.partial / "x"
        file.write_text(content)
        os.utime(file, ns=(10**18, 10**18))
        folder.publish({"name": file})
        with folder.open("name") as opened:
            status = os.fstat(opened.fileno())
        tags.append(_file_headers("name", status, False)["ETag"])
        framework_tags.append(FileResponse(folder.locate("name"), stat_result=status).headers["ETag"])
    assert tags[0] != tags[1]
    assert framework_tags[0] == framework_tags[1]
