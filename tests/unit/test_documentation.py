"""Pages name what exists: files, links, anchors and `./task` commands; and their lines fit an editor's window."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("localserver/*.md"))
    if path.name not in ("CHANGELOG.md", "CONTRIBUTING.md")
)
"""Pages on today's tree: a changelog names what was there before, CONTRIBUTING.md files that are still to be made."""

WIDTH = 120
TRACKED = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines()
TASKS = yaml.safe_load((ROOT / "Taskfile.yml").read_text())["tasks"]
FOLDERS = sorted({line.partition("/")[0] for line in TRACKED if "/" in line})


def page(path: Path) -> str:
    return str(path.relative_to(ROOT))


def anchors(path: Path) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=page)
def test_every_file_that_a_page_names_exists(path):
    named = re.findall(rf"`((?:{'|'.join(map(re.escape, FOLDERS))})/[\w./-]+)`", path.read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name).exists() and not (path.parent / name).exists()] == []


@pytest.mark.parametrize("path", PAGES, ids=page)
def test_every_link_of_a_page_leads_somewhere(path):
    bad = []
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        name, _, anchor = target.partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        file = (path.parent / name).resolve() if name else path
        if not file.exists() or (anchor and anchor not in anchors(file)):
            bad.append(target)
    assert bad == []


@pytest.mark.parametrize("path", PAGES, ids=page)
def test_every_task_that_a_page_names_exists(path):
    named = re.findall(r"(?:\./)?\btask (?:-x )?([a-z]+(?:-[a-z]+)+)\b", path.read_text(encoding="utf-8"))
    assert sorted(set(named) - TASKS.keys()) == []


@pytest.mark.parametrize("name", [name for name in TRACKED if name.endswith(".md")])
def test_lines_fit(name):
    """Outside of tables and of code blocks, whose lines are what a command printed and cannot be wrapped."""
    text = re.sub(r"^ *```.*?^ *```", "", (ROOT / name).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert [line for line in text.splitlines() if len(line) > WIDTH and not line.startswith("|")] == []


@pytest.mark.parametrize("path", PAGES, ids=page)
def test_commands_fit(path):
    commands = re.findall(r"^(?:\$ )?(?:\./task|uvx|\.venv/bin/|python|pip) .*$", path.read_text(), re.MULTILINE)
    assert [line for line in commands if len(line) > WIDTH] == []


def test_the_index_lists_every_page():
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"\]\(([\w-]+\.md)\)", index))
    assert listed == {path.name for path in ROOT.glob("docs/*.md")} - {"README.md"}


def test_each_test_that_an_issue_names_exists():
    text = (ROOT / "docs/deploy.md").read_text()
    table = text.partition("## Issues that others have reported")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(test_\w+)(?:\.py)?`", table))
    written = "\n".join(path.name + path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(named) > 4
    assert {name for name in named if name not in written} == set()
