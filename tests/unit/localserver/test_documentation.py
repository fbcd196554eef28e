"""docs/localserver.md says what the code does: every setting is there, and every test that it names exists."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from clearml_localserver.settings import Settings

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/localserver.md").read_text(encoding="utf-8")


def test_every_setting_is_in_the_table_of_limits():
    names = {field.name.upper() for field in fields(Settings)} - {"DATA"}
    assert sorted(name for name in names if f"`{name}`" not in PAGE) == []


def test_every_promise_names_a_test_that_exists():
    promises = PAGE.partition("## What it promises")[2].partition("\n## ")[0]
    rows = [line for line in promises.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 10
    for row in rows:
        named = re.findall(r"`(tests/[\w./]+)`", row)
        assert named, row
        assert [name for name in named if not (ROOT / name).exists()] == []
