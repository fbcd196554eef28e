"""Charts on this machine: fetched archives by digest, what is in a chart, and the words of its templates.

Outside system: the cache folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import yaml

from clearml_access.errors import parse_error
from deploy.errors import ChartError
from deploy.helm import chart_archive, documents
from deploy.helm.values import Values


@dataclass(frozen=True)
class Chart:
    """A chart on this machine."""

    name: str
    version: str
    kube_version: str
    """helm's range of Kubernetes versions; empty: any."""

    folder: Path
    defaults: Values
    words: frozenset[str]
    """All words of its templates: what none of them names is not read."""
    digest: str
    source: str


def unpacked(archive: Path, source: str, cache: Path) -> Chart:
    """Return the chart in an archive, taken apart into the cache if it is not there.

    Raises:
        ChartError: It is not a chart's archive, or the cache cannot be written.
    """
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    folder = cache / "charts" / digest
    if not folder.is_dir():
        _make(folder.parent)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".unpack-") as half:
            chart_archive.unpack(archive, Path(half))
            with suppress(OSError):  # another process was faster
                Path(half).rename(folder)
                Path(half).mkdir()  # for the context manager to remove
    found = sorted(folder.glob("*/Chart.yaml"))
    if not found:
        raise ChartError(f"{archive} holds no Chart.yaml", hint="--chart with a packaged helm chart")
    return read(found[0].parent, digest, source)


class Index:
    """Fetched archives by digest, and which source each was."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "index.json"

    def get(self, source: str) -> Path | None:
        """Return the archive of a source, if it is there and whole."""
        try:
            digest = json.loads(self._file.read_text(encoding="utf-8")).get(source)
        except (OSError, ValueError):
            return None
        archive = self._folder / f"{digest}.tgz"
        intact = digest and archive.is_file() and hashlib.sha256(archive.read_bytes()).hexdigest() == digest
        return archive if intact else None

    def put(self, source: str, archive: Path) -> Path:
        """Keep a copy of a source's archive; return where it is.

        Raises:
            ChartError: The cache cannot be written.
        """
        digest = hashlib.sha256(archive.read_bytes()).hexdigest()
        _make(self._folder)
        try:
            entries = json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            entries = {}
        half = self._folder / f".{digest}.{os.getpid()}"
        shutil.copyfile(archive, half)
        half.replace(self._folder / f"{digest}.tgz")
        half.write_text(json.dumps({**entries, source: digest}, indent=2), encoding="utf-8")
        half.replace(self._file)
        return self._folder / f"{digest}.tgz"


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ChartError(
            f"charts cannot be kept in {folder}: {error.strerror}",
            hint="set XDG_CACHE_HOME to a folder that can be written, or --chart with a chart's folder",
        ) from error


def read(folder: Path, digest: str, source: str) -> Chart:
    """Return the chart in a folder.

    Raises:
        ChartError: It is not one.
    """
    hint = "--chart with a folder that holds Chart.yaml"
    try:
        about = documents.read((folder / "Chart.yaml").read_text(encoding="utf-8"))
        values = folder / "values.yaml"
        defaults = documents.read(values.read_text(encoding="utf-8")) if values.is_file() else {}
    except OSError as error:
        raise ChartError(f"{folder} is not a chart: {error}", hint=hint) from error
    except yaml.YAMLError as error:
        raise ChartError(f"{folder} is not a chart: {parse_error(error)}", hint=hint) from None
    if not isinstance(about, dict) or not {"name", "version"} <= about.keys():
        raise ChartError(f"{folder}/Chart.yaml has no name and version", hint="helm lint FOLDER")
    return Chart(
        name=str(about["name"]),
        version=str(about["version"]),
        kube_version=str(about.get("kubeVersion") or ""),
        folder=folder,
        defaults=defaults or {},
        words=_words(folder),
        digest=digest,
        source=source,
    )


def _words(folder: Path) -> frozenset[str]:
    templates = (path for path in folder.glob("**/templates/**/*") if path.is_file())
    return frozenset(word for path in templates for word in re.findall(r"\w+", path.read_text("utf-8", "replace")))


def folder_digest(folder: Path) -> str:
    """Return a text that changes with any file of a folder."""
    total = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        total.update(f"{path.relative_to(folder)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()
