"""Texts that people read are plain English: phrases that came up again and again in translated prose stay out."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
IDIOMS = {
    r"(?<!there )\b(?:is|are) no (?:json|number|lineage|paths?|run|set|version|text|list|file)\b": "is not a …",
    r"(?<!there )\bis no error\b": "is not an error",
    r"\bbrought back\b": "rolled back, restored",
    r"\bthat lack\b": "missing",
    r"\bdemands keys\b": "asks for keys",
    r"\bmade good\b": "completed, repaired",
    r"\bwithout a word\b": "without a message",
    r"\bthat mends it\b": "that repairs it",
}


def read_by_people() -> list[Path]:
    names = subprocess.run(
        ["git", "ls-files", "--", "*.md", "*.py", "*.yml", "*.html", ":!tests", ":!CHANGELOG.md"],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return [ROOT / name for name in names.stdout.splitlines() if (ROOT / name).is_file()]


@pytest.mark.parametrize("idiom", IDIOMS)
def test_no_text_reads_as_translated(idiom):
    pattern = re.compile(idiom, re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in read_by_people()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == [], f"say: {IDIOMS[idiom]}"
