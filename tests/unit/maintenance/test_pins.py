"""Pins are found in the real files; newer versions come from a fake source and land in every place of a copy."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from maintenance import __main__ as command_line
from maintenance import pins, update_pins
from maintenance.pins import PINS, ROOT, Pin, SourceError

BY_NAME = {pin.name: pin for pin in PINS}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in {place for pin in PINS for place in pin.places}:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("name", BY_NAME)
def test_a_pin_is_in_all_its_places_and_the_same_in_each(name: str) -> None:
    assert all(BY_NAME[name].current(ROOT).values())


@pytest.mark.parametrize("name", BY_NAME)
def test_a_newer_version_lands_in_every_place_and_nowhere_else(
    name: str, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin = BY_NAME[name]
    now = pin.current(copy)
    new = {group: {"version": "99.9", "digest": "e" * 64}[group] for group in now}
    monkeypatch.setattr(update_pins, "PINS", (replace(pin, newest=lambda _: new),))
    ran: list[tuple[str, ...]] = []
    (outcome,) = update_pins.update(copy, [name], write=True, run=lambda command, _: ran.append(tuple(command)))
    assert (outcome.state, outcome.proof) == ("updated", pin.proof)
    assert pin.current(copy) == new
    assert ran == ([pin.after] if pin.after else [])
    for place in pin.places:
        before, after = (ROOT / place).read_text(), (copy / place).read_text()
        for group, text in now.items():
            after = after.replace(new[group], text)
        assert after == before


def test_a_look_changes_no_file(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    newer = replace(BY_NAME["uv"], newest=lambda _: {"version": "99.9"})
    monkeypatch.setattr(update_pins, "PINS", (newer,))
    (outcome,) = update_pins.update(copy, ["uv"], write=False)
    assert outcome.state == "newer" and outcome.detail.endswith("99.9")
    assert (copy / "task").read_text() == (ROOT / "task").read_text()


def test_places_that_differ_are_named(copy: Path) -> None:
    path = copy / "images/build-tools.in"
    path.write_text(path.read_text().replace("uv==", "uv==0."))
    with pytest.raises(SourceError, match=r"uv is .* in task and .* in images/build-tools.in"):
        BY_NAME["uv"].current(copy)


def test_a_source_that_does_not_answer_is_named_and_has_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(url: str, **_: object) -> httpx.Response:
        raise httpx.ConnectError("no route")

    monkeypatch.setattr(pins.httpx, "get", refuse)
    assert command_line.main(["update-pins", "--check", "--only", "chart"]) == command_line.UNKNOWN
    said = capsys.readouterr()
    assert "chart             unknown   https://clearml.github.io" in said.out and "no route" in said.out
    assert "./task update-pins -- --only chart" in said.err


def test_the_index_is_asked_for_the_newest_release_with_a_wheel_for_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    def file(name: str, digest: str, **more: object) -> dict[str, object]:
        return {"filename": name, "hashes": {"sha256": digest}} | more

    answer = {
        "files": [
            file("thing-1.9.0-py3-none-manylinux_2_17_x86_64.whl", "a"),
            file("thing-1.10.0-py3-none-manylinux_2_17_x86_64.whl", "b"),
            file("thing-1.11.0-py3-none-macosx_11_0_arm64.whl", "c"),
            file("thing-1.12.0-py3-none-any.whl", "d", yanked="broken"),
            file("thing-2.0.0rc1-py3-none-any.whl", "e"),
            file("thing-1.13.0.tar.gz", "f"),
        ]
    }
    request = httpx.Request("GET", "https://index.test/thing/")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://index.test/")
    asked = []

    def get(url: str, **_: object) -> httpx.Response:
        asked.append(url)
        return httpx.Response(200, json=answer, request=request)

    monkeypatch.setattr(pins.httpx, "get", get)
    assert pins.newest_wheel("thing")({}) == {"version": "1.10.0", "digest": "b"}
    assert asked == ["https://index.test/thing/"]


def test_a_lock_file_is_updated_by_its_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "uv.lock").write_text("old")
    monkeypatch.setattr(update_pins, "PINS", ())
    write = lambda command, folder: (folder / "uv.lock").write_text("new")  # noqa: E731
    assert [found.state for found in update_pins.update(tmp_path, ["lock"], write=True, run=write)] == ["updated"]
    assert [found.state for found in update_pins.update(tmp_path, ["lock"], write=True, run=write)] == ["current"]


def test_only_named_groups_are_replaced() -> None:
    text = replaced("a==1.2 sha=ff; b==1.2", r"a==(?P<version>[\d.]+) sha=(?P<digest>\w+)")
    assert text == "a==3.45 sha=e; b==1.2"


def replaced(text: str, pattern: str) -> str:
    return pins.replaced(text, pattern, {"version": "3.45", "digest": "e"})


def test_every_pin_has_a_name_of_its_own() -> None:
    assert len(set(update_pins.NAMES)) == len(update_pins.NAMES)
    assert all(isinstance(pin, Pin) and pin.proof for pin in PINS)
