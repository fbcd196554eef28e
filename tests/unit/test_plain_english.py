"""Texts that people read are plain English: phrases that came up again and again in translated prose stay out."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
IDIOMS = {
    r"(?<!there)(?<!\s)\s+(?:is|are) no (?!longer|more\b|less\b|other\b|way\b|such\b|need\b|doubt\b|matter\b)\w": (
        "is not a …"
    ),
    r"(?<!there )\bis no more\b|\bthat there (?:is|are) no more\b|\ba draft no more\b": "no longer exists, has ended",
    r"\bbrought back\b|\bbrings? back what\b": "rolled back, restored",
    r"\btakes? along what\b": "removes, stops … too",
    r"\bthat lack\b": "missing",
    r"\bdemands keys\b": "asks for keys",
    r"\bmade good\b": "completed, repaired",
    r"\bwithout a word\b": "without a message",
    r"\bmends?\b|\bmended\b|\bmending\b": "repair, fix, correct",
    r"\baloud\b": "says, reports",
    r"\bin silence\b": "silently",
    r"\bthe account on stderr\b|\bthe account of what\b": "messages go to stderr",
    r"\blook(?:s|ed)? after\b": "maintain, manage",
    r"\blives? and works?\b": "runs and takes tasks",
    r"\bwould ask itself\b": "a loopback address in a pod is the pod itself",
    r"\bmay not, and we\b|\bwe may not\b": "you are not allowed to, this user is not allowed to",
    r"\bcut off\b(?! at)": "interrupted; truncated",
    r"\bto ask on\b": "no terminal for the confirmation",
    r"\bsays? [`\"]?(?:queued|in_progress)\b": "is marked as",
    r"\bis silent for\b": "has been silent for",
    r"\bruns? already\b(?!\S)": "is already running",
    r"\bstood still\b": "stalled",
    r"\bto be had\b|\bcan(?:not)? be had\b|\bneither can be had\b": "can be fetched, exists",
    r"\bshuts? out\b": "does not allow, blocks",
    r"\bbecomes? of\b": "happens to",
    r"\bstands? (?:in|on|there|here|under|below|above)\b|\bstands? still\b": "is in, hangs",
    r"\bgo(?:es|ing)? on (?:on this|by its|with what that run)\b": "continues",
    r"\banew\b": "again",
    r"\bpass(?:es|ed)? over (?!the\b)": "ignores, skips",
    r"\b(?:what|whatever) (?:goes|is going) on\b": "progress",
    r"\bnot so after\b": "not ready after",
    r"\bbegan to work on release\b": "is changing the release",
}


def read_by_people() -> list[Path]:
    names = subprocess.run(
        ["git", "ls-files", "--", "*.md", "*.py", "*.yml", "*.html", ":!tests"],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return [ROOT / name for name in names.stdout.splitlines() if (ROOT / name).is_file()]


@pytest.mark.parametrize("idiom", IDIOMS)
def test_no_text_reads_as_translated(idiom):
    pattern = re.compile(idiom, re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}:{text.count(chr(10), 0, match.start()) + 1}: {match.group().strip()}"
        for path in read_by_people()
        for text in [path.read_text(encoding="utf-8")]
        for match in pattern.finditer(text)
    ]
    assert found == [], f"say: {IDIOMS[idiom]}"
