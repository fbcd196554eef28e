"""The parts of an import: the journal, the rewriting of references, the client's patience, the configuration."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from clearml_localserver.cli import main
from clearml_localserver.commands.transfer import read_access
from clearml_localserver.errors import OperatorError
from clearml_localserver.upkeep import remote_server as module
from clearml_localserver.upkeep.journal import Journal
from clearml_localserver.upkeep.remote_server import Access, RefusedError, RemoteServer, UnansweredError
from clearml_localserver.upkeep.rewriting import Rewriter
from click.testing import CliRunner

OLD, NEW, OTHER = "a" * 32, "b" * 32, "c" * 32
ACCESS = Access("http://api", "http://files", "http://web", "key", "secret")


def test_references_are_replaced_wherever_they_stand_and_nothing_else() -> None:
    rewriter = Rewriter({OLD: NEW}, {"http://old:80": "http://new", "http://old:8081": "https://files/x"})
    value = {
        OLD: [f"{OLD}.artifact", f"http://old:8081/p/t.{OLD}/a%20b", f"<{OLD}>", f"{OLD}0", f"d{OLD}"],
        "n": 1,
        "o": OTHER,
    }
    assert rewriter.value(value) == {
        NEW: [f"{NEW}.artifact", f"https://files/x/p/t.{NEW}/a%20b", f"<{NEW}>", f"{OLD}0", f"d{OLD}"],
        "n": 1,
        "o": OTHER,
    }
    assert rewriter.value("http://old:80/a http://old:808/a") == "http://new/a http://old:808/a"
    assert Rewriter({}, {}).value({"a": "http://old"}) == {"a": "http://old"}


def test_a_journal_remembers_and_outlives_a_line_that_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.intend("task", OLD)
    journal.made(OLD, NEW)
    journal.finish("filled", OLD)
    journal.close()
    path.write_text(path.read_text() + '["made", "ccc')
    again = Journal(path)
    again.made(OTHER, OLD)
    again.close()
    last = Journal(path)
    assert last.ids == {OLD: NEW, OTHER: OLD}
    assert last.intended("task", OLD) and last.done("filled", OLD)
    assert not last.intended("task", OTHER) and not last.done("filled", OTHER)
    last.close()


def reply(data: dict[str, object], status: int = 200, subcode: int = 0, text: str = "OK") -> httpx.Response:
    return httpx.Response(status, json={"meta": {"result_subcode": subcode, "result_msg": text}, "data": data})


def target(answer: Callable[[httpx.Request], httpx.Response]) -> RemoteServer:
    def handle(request: httpx.Request) -> httpx.Response:
        return reply({"token": "t"}) if request.url.path == "/auth.login" else answer(request)

    return RemoteServer(ACCESS, httpx.MockTransport(handle))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.0)
    monkeypatch.setattr(module, "DEADLINE_S", 0.05)


def test_a_server_that_comes_back_is_waited_for(impatient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DEADLINE_S", 60.0)
    answers = iter([httpx.Response(503), httpx.ConnectError("refused"), httpx.Response(502), reply({"id": NEW})])

    def answer(request: httpx.Request) -> httpx.Response:
        found = next(answers)
        if isinstance(found, Exception):
            raise found
        return found

    assert target(answer)("tasks.create") == {"id": NEW}


def test_a_server_that_stays_away_is_one_message(impatient: None) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("timed out")

    with pytest.raises(OperatorError, match=r"(?s)tasks.get_all: no answer for .*it continues where it stopped"):
        target(answer)("tasks.get_all")
    with pytest.raises(UnansweredError):
        target(answer).once("tasks.create")


def test_a_refusal_is_not_repeated(impatient: None) -> None:
    calls: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        calls.append(request.url.path)
        return reply({}, 400, 801, "taken")

    with pytest.raises(RefusedError, match="400/801 taken") as refused:
        target(answer)("queues.create", name="q")
    assert (refused.value.subcode, calls) == (801, ["/v2.23/queues.create"])


def test_a_token_that_has_run_out_is_renewed() -> None:
    answers = iter([reply({}, 401, 30), reply({"ok": 1})])
    assert target(lambda request: next(answers))("tasks.get_all") == {"ok": 1}


def test_what_is_no_clearml_server_is_said() -> None:
    with pytest.raises(RefusedError, match="not an answer of a ClearML server"):
        target(lambda request: httpx.Response(200, text="<html>"))("tasks.get_all")


CONF = """
api {
  api_server: http://127.0.0.1:1/
  files_server: "http://files:8081/"
  credentials { access_key: "K", secret_key: "S" }
}
"""


def test_a_configuration_is_read_as_the_sdk_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "clearml.conf"
    path.write_text(CONF)
    assert read_access(path) == Access("http://127.0.0.1:1", "http://files:8081", "", "K", "S")
    assert read_access(path, "http://elsewhere/").files == "http://elsewhere"
    path.write_text("api { api_server: x }")
    with pytest.raises(OperatorError, match=r"clearml.conf cannot be used: .*credentials"):
        read_access(path)
    path.write_text("api { ][ ")
    with pytest.raises(OperatorError, match=r"clearml.conf cannot be used: line 1 is not") as refused:
        read_access(path)
    assert len(str(refused.value)) < 300, "not the parser's whole grammar"


@pytest.mark.parametrize(
    "content",
    [
        "api {\n credentials: prod { access_key: AK, secret_key: MYSECRET }\n}",
        "api {\n web_server: http://a credentials { access_key: AK, secret_key: MYSECRET }\n}",
    ],
)
def test_a_malformed_configuration_does_not_show_its_keys(tmp_path: Path, content: str) -> None:
    path = tmp_path / "clearml.conf"
    path.write_text(content)
    with pytest.raises(OperatorError, match="line 2 is not") as refused:
        read_access(path)
    error = refused.value
    assert "MYSECRET" not in "".join(traceback.format_exception(type(error), error, error.__traceback__))


def test_without_the_sdk_a_configuration_cannot_be_read_and_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "clearml.utilities.pyhocon", None)
    config = tmp_path / "clearml.conf"
    config.write_text(CONF)
    result = CliRunner().invoke(main, ["import", str(tmp_path), "--config", str(config)])
    assert result.exit_code == 10
    assert result.stderr.startswith(f"Error: {config} cannot be read: the ClearML SDK, whose parser reads it, is not")
    assert 'Hint: pip install "clearml-localserver[sdk]"' in result.stderr


def test_an_import_needs_an_export_and_a_server_that_answers(tmp_path: Path) -> None:
    config, folder = tmp_path / "clearml.conf", tmp_path / "folder"
    config.write_text(CONF)
    folder.mkdir()
    result = CliRunner().invoke(main, ["import", str(folder), "--config", str(config)])
    assert (result.exit_code, "is not an export" in result.stderr) == (10, True)
    (folder / "export.json").write_text('{"format": 1}')
    result = CliRunner().invoke(main, ["import", str(folder), "--config", str(config)])
    assert (result.exit_code, "http://127.0.0.1:1 does not answer" in result.stderr) == (10, True)
