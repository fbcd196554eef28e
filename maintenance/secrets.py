"""`find-secrets`: keys, tokens and passwords in files that are, or are about to come, under version control."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from detect_secrets.core.secrets_collection import SecretsCollection
from detect_secrets.settings import transient_settings

GIT_TIMEOUT_S = 60
PLUGINS = (
    *("ArtifactoryDetector", "AWSKeyDetector", "AzureStorageKeyDetector", "BasicAuthDetector", "GitHubTokenDetector"),
    *("JwtTokenDetector", "KeywordDetector", "NpmDetector", "PrivateKeyDetector", "PypiTokenDetector", "SlackDetector"),
)
"""Those without entropy: hexadecimal digests of pinned files are everywhere."""

NOT_WRITTEN_BY_HAND = re.compile(r"(^|/)(uv\.lock|go\.sum|build-tools\.txt)$|^docs/benchmarks/|^tests/data/")
NAMES_OF_FIELDS = ("agentk8sglue_secret", "CLEARML_API_SECRET_KEY")
"""What stands for a secret in code: names of fields that hold one."""

SHORTEST_IN_TESTS = 20
"""Tests make up secrets, all of them short words; a real key has 30 characters or more."""


def tracked(root: Path) -> list[str]:
    """Return the files of a clone that were written by hand: tracked ones, and new ones that are not ignored."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listed, cwd=root, capture_output=True, text=True, check=True, timeout=GIT_TIMEOUT_S)
    return [name for name in done.stdout.splitlines() if (root / name).is_file()]


def find(names: Iterable[str], root: Path) -> list[str]:
    """Return `file:line: kind` for what looks like a secret; never the secret itself."""
    filters = "detect_secrets.filters"
    settings = {
        "plugins_used": [{"name": name} for name in PLUGINS],
        "filters_used": [
            {"path": f"{filters}.allowlist.is_line_allowlisted"},
            {"path": f"{filters}.heuristic.is_templated_secret"},
            {"path": f"{filters}.heuristic.is_indirect_reference"},
            {"path": f"{filters}.heuristic.is_not_alphanumeric_string"},
            {"path": f"{filters}.heuristic.is_sequential_string"},
            {"path": f"{filters}.heuristic.is_potential_uuid"},
            {"path": f"{filters}.regex.should_exclude_secret", "pattern": [f"^({'|'.join(NAMES_OF_FIELDS)})$"]},
        ],
    }
    with transient_settings(settings):
        secrets = SecretsCollection(root=str(root))
        for name in names:
            if not NOT_WRITTEN_BY_HAND.search(name):
                secrets.scan_file(name)
        return [
            f"{file}:{secret.line_number}: {secret.type}"
            for file, secret in secrets
            if not (file.startswith("tests/") and len(secret.secret_value or "") < SHORTEST_IN_TESTS)
            or secret.type == "Private Key"
        ]
