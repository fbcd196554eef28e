"""A key that somebody is about to commit is found; the secret itself is not printed."""

from __future__ import annotations

from pathlib import Path

from maintenance import __main__ as command_line
from maintenance import secrets

KEY = "X7q9" * 11


def test_keys_are_found_by_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "clearml.conf").write_text(f'api {{\n  credentials {{ access_key: "AK", secret_key: "{KEY}" }}\n}}\n')
    (tmp_path / "id").write_text("-----BEGIN OPENSSH PRIVATE " + "KEY-----\n")
    (tmp_path / "uv.lock").write_text(f'secret_key: "{KEY}"\n')
    found = secrets.find(["clearml.conf", "id", "uv.lock"], tmp_path)
    assert found == ["clearml.conf:2: Secret Keyword", "id:1: Private Key"]


def test_short_ones_are_made_up_in_tests_and_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    for name in ("tests/test_it.py", "it.py"):
        (tmp_path / name).write_text('SECRET = "the secret"\nPASSWORD = "{{ password }}"\n')
    (tmp_path / "tests/key.py").write_text(f'SECRET = "{KEY}"\n')
    found = secrets.find(["tests/test_it.py", "it.py", "tests/key.py"], tmp_path)
    assert found == ["it.py:1: Secret Keyword", "tests/key.py:1: Secret Keyword"]


def test_the_command_fails_and_shows_no_secret(tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "clearml.conf").write_text(f'secret_key: "{KEY}"\n')
    monkeypatch.setattr(command_line, "ROOT", tmp_path)
    assert command_line.main(["find-secrets", "clearml.conf"]) == 1
    said = capsys.readouterr().out
    assert "clearml.conf:1: Secret Keyword" in said and KEY not in said


def test_values_and_pages_hold_nothing_that_looks_like_a_secret() -> None:
    """`./task lint` searches everything; here are the files in which names of Secrets are written most."""
    clone = Path(__file__).resolve().parents[3]
    names = [name for name in secrets.tracked(clone) if name.startswith(("helm/", "docs/", "examples/"))]
    assert "helm/values-server.yaml" in names
    assert secrets.find((name for name in names if name.endswith((".yaml", ".yml", ".md"))), clone) == []
