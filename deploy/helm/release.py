"""Helm, through pyhelm3: charts, releases, revisions. The only module that imports pyhelm3; it has a sync face.

What pyhelm3 0.5.8 does not do well is kept in here: a missing helm is an AssertionError there, a dead cluster a plain
error, the version of a self-built helm no version at all (its `Client` dies of these, so `Command` is used); its merge
of several values is not helm's (so it is handed one mapping); it logs its argv (so its logger is quiet, and no secret
is ever in an argv).

It must not decide anything: no waiting for pods, no roll-back of its own accord.
Outside systems: the helm program, and through it the cluster and chart repositories.
"""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import re
import subprocess
import tempfile
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from pyhelm3 import Command, errors

from deploy import tools, versions
from deploy.errors import (
    AdmissionError,
    ChartError,
    ClusterError,
    ClusterUnreachableError,
    HelmError,
    HelmNotFoundError,
    ReleaseBusyError,
    ReleaseNotFoundError,
    RightsError,
    ValuesError,
)
from deploy.helm import charts, documents
from deploy.helm.charts import Chart
from deploy.helm.values import Values
from deploy.settings import Settings

logging.getLogger("pyhelm3").setLevel(logging.ERROR)

VERSION_TIMEOUT_S = 20
PENDING = ("pending-install", "pending-upgrade", "pending-rollback", "uninstalling")

T = TypeVar("T")

STDERR: tuple[tuple[str, type[HelmError] | type[ClusterError], str], ...] = (
    (r"another operation .* is in progress", ReleaseBusyError, "wait for it, or: ./task deploy-agent"),
    (
        r"release: not found|release not loaded|has no deployed releases",
        ReleaseNotFoundError,
        "./task agent-status",
    ),
    (
        r"cluster unreachable|connection refused|i/o timeout|no route to host|no such host|TLS handshake",
        ClusterUnreachableError,
        "kubectl cluster-info",
    ),
    (
        r"violates PodSecurity|exceeded quota|admission webhook|(minimum|maximum) .* usage per",
        AdmissionError,
        "./task doctor shows what the namespace enforces",
    ),
    (r"forbidden|unauthorized", RightsError, "./task doctor"),
    (r"chart requires kubeVersion", ChartError, "--chart-version with a chart that allows this cluster"),
    (
        r"chart .* not found|no cached repo|not a valid chart repository|failed to (?:fetch|perform)|"
        r"not found in .* (?:index|repository)|path .* not found|Chart.yaml file is missing|no chart version found",
        ChartError,
        "--chart FOLDER, FILE.tgz or oci://…; --chart-version",
    ),
    (
        r"execution error|failed to render|parse error|YAML parse|error converting YAML|"
        r"unable to build kubernetes objects|is invalid|error validating",
        ChartError,
        ".venv/bin/python -m deploy render",
    ),
)
"""What helm says on stderr → what that is. Its exit code is 1 for all of them."""


@dataclass(frozen=True)
class Capabilities:
    """What a chart's templates see of a cluster."""

    version: str
    api_versions: tuple[str, ...]


@dataclass(frozen=True)
class Revision:
    """One revision of a release."""

    number: int
    status: str
    chart: str
    """Name and version."""

    updated: str
    description: str
    read_values: Callable[[], Values] = field(repr=False, compare=False)

    @cached_property
    def values(self) -> Values:
        """What it was made with. Asked for when first needed, since it takes a process of helm's; it never changes."""
        return self.read_values()

    @property
    def pending(self) -> bool:
        """Whether an operation on it began and never ended."""
        return self.status in PENDING


class Helm:
    """helm for one release."""

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        self._settings = settings
        self.path = settings.helm or self._find(environ)
        self.version = self._ask_version()
        self._command = Command(
            executable=self.path,
            kubeconfig=Path(settings.kubeconfig) if settings.kubeconfig else None,
            kubecontext=settings.context,
            default_timeout=f"{int(settings.deadlines.helm)}s",
        )

    def of(self, settings: Settings) -> Helm:
        """Return this helm for another release."""
        other = copy.copy(self)
        other._settings = settings
        return other

    @staticmethod
    def _find(environ: Mapping[str, str]) -> str:
        try:
            return str(tools.helm_path(environ))
        except tools.ToolsError as error:
            raise HelmNotFoundError(f"helm is missing: {error.message}", hint=error.hint) from error

    def _ask_version(self) -> str:
        argv = [self.path, "version", "--template", "{{.Version}}"]
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=VERSION_TIMEOUT_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise HelmNotFoundError(f"{self.path} does not run: {error}", hint="install helm 3.10 or later") from error
        version = versions.parse(done.stdout)
        if done.returncode or version is None:
            said = (done.stderr or done.stdout).strip()[:200]
            raise HelmNotFoundError(
                f"{self.path} does not answer as helm does: {said}", hint="install helm 3.10 or later"
            )
        if version < versions.OLDEST_HELM:
            wanted = ".".join(map(str, versions.OLDEST_HELM))
            raise HelmNotFoundError(
                f"{self.path} is helm {done.stdout.strip()}, older than {wanted}", hint="install helm 3.10 or later"
            )
        return done.stdout.strip()

    # -- charts

    def chart(self) -> Chart:
        """Return the chart of the settings, fetched into the cache if need be.

        Raises:
            ChartError: It cannot be fetched, or is not a chart.
        """
        settings = self._settings
        local = Path(settings.chart).expanduser()
        if local.is_dir():
            return charts.read(local, charts.folder_digest(local), str(local))
        if local.is_file():
            return charts.unpacked(local, str(local), settings.cache)
        hint = "--chart FOLDER, FILE.tgz or oci://…"
        if settings.chart.endswith(".tgz"):
            raise ChartError(f"chart {settings.chart} does not exist", hint=hint)
        if settings.chart.startswith((".", "~")) or ("/" in settings.chart and "://" not in settings.chart):
            raise ChartError(f"there is no folder {settings.chart}", hint=hint)
        return self._fetched()

    def _fetched(self) -> Chart:
        settings = self._settings
        is_oci = settings.chart.startswith("oci://")
        source = settings.chart if is_oci else f"{settings.repository}/{settings.chart}"
        source += f" {settings.chart_version or 'newest'}"
        index = charts.Index(settings.cache / "charts")
        known = index.get(source) if settings.chart_version else None
        if known:
            return charts.unpacked(known, source, settings.cache)
        with tempfile.TemporaryDirectory(prefix="clearml-pods-chart-") as folder:
            argv: list[Any] = ["pull", settings.chart, "--destination", folder]
            argv += [] if is_oci else ["--repo", settings.repository]
            argv += ["--version", settings.chart_version] if settings.chart_version else []
            try:
                _run(self._command.run(argv))
            except (HelmError, ClusterUnreachableError) as error:
                raise ChartError(
                    f"chart {source} cannot be fetched: {error.message}",
                    hint="--chart FOLDER or FILE.tgz, or --repository with a mirror that is reachable from here",
                ) from error
            archive = next(Path(folder).glob("*.tgz"))
            return charts.unpacked(index.put(source, archive), source, settings.cache)

    # -- releases

    def render(self, chart: Chart, values: Values, cluster: Capabilities | None) -> list[dict[str, Any]]:
        """Return the objects that the chart makes of the values.

        Args:
            chart: The chart.
            values: What it is given.
            cluster: What its templates see of the cluster; None: what this helm assumes.
        """
        settings = self._settings
        argv: list[Any] = ["template", settings.release, chart.folder, "--skip-crds", "--values", "-"]
        argv += ["--namespace", settings.namespace]
        if cluster is not None:
            argv += ["--kube-version", cluster.version, "--api-versions", ",".join(cluster.api_versions)]
        text = _run(self._command.run(argv, json.dumps(values).encode()))
        return list(documents.read_all(text))

    def releases_after(self) -> list[str]:
        """Return the releases of the namespace that are called like this one, with a dash and more behind it."""
        name, states = self._settings.release, ("--deployed", "--failed", "--pending", "--uninstalling")
        where = ["--namespace", self._settings.namespace, "--output", "json", "--max", "0"]
        listed = json.loads(_run(self._command.run(["list", "--filter", f"^{name}-", *states, *where])))
        return sorted(str(entry["name"]) for entry in listed)

    def revision(self) -> Revision | None:
        """Return the release's current revision, whatever became of it; None if there is none."""
        history = self.history()
        return history[-1] if history else None

    def history(self) -> list[Revision]:
        """Return all revisions that helm remembers, oldest first."""
        settings = self._settings
        argv = ["history", settings.release, "--output", "json", "--namespace", settings.namespace]
        try:
            listed = json.loads(_run(self._command.run(argv)))
        except ReleaseNotFoundError:
            return []
        return [self._revision(entry) for entry in listed]

    def _revision(self, entry: Mapping[str, Any]) -> Revision:
        number = int(entry["revision"])
        return Revision(
            number=number,
            status=str(entry["status"]),
            chart=str(entry.get("chart", "")),
            updated=str(entry.get("updated", "")),
            description=str(entry.get("description", "")),
            read_values=lambda: self.values_of(number),
        )

    def values_of(self, revision: int, *, computed: bool = False) -> Values:
        """Return the values that a revision was made with; computed: laid over its chart's defaults."""
        where = {"namespace": self._settings.namespace, "revision": revision}
        got = _run(self._command.get_values(self._settings.release, computed=computed, **where))
        return dict(got or {})

    def manifest(self) -> list[dict[str, Any]]:
        """Return the objects of the current revision, as helm sent them."""
        settings = self._settings
        argv = ["get", "manifest", settings.release, "--namespace", settings.namespace]
        text = _run(self._command.run(argv)).decode()
        return list(documents.read_all(text))

    def upgrade(self, chart: Chart, values: Values, description: str) -> int:
        """Install or upgrade the release, without waiting for its pods; return the number of the new revision."""
        settings = self._settings
        made = _run(
            self._command.install_or_upgrade(
                settings.release,
                chart.folder,
                values,
                create_namespace=False,
                description=description,
                namespace=settings.namespace,
                reset_values=True,
                server_side="false" if self._is_helm_4 else None,
            )
        )
        return int(dict(made)["version"])

    def rollback(self, to: int) -> None:
        """Go back to an earlier revision, without waiting for its pods."""
        settings = self._settings
        argv = ["rollback", settings.release, str(to), "--namespace", settings.namespace, "--cleanup-on-fail"]
        argv += ["--timeout", f"{int(settings.deadlines.helm)}s"]
        _run(self._command.run([*argv, "--server-side=false"] if self._is_helm_4 else argv))

    @property
    def _is_helm_4(self) -> bool:
        """Helm 4 applies on the server by default, and refuses what another writer changed, such as the Role's rules.

        Without, it merges three ways, as helm 3 does.
        """
        return (versions.parse(self.version) or versions.OLDEST_HELM) >= (4, 0, 0)

    def uninstall(self) -> None:
        """Remove the release and what it made; nothing to do if there is none."""
        settings = self._settings
        with suppress(ReleaseNotFoundError):
            _run(self._command.uninstall(settings.release, namespace=settings.namespace, wait=True))


def _run(call: Coroutine[Any, Any, T]) -> T:
    """Run one call; pyhelm3 starts a process a call and keeps nothing bound to the loop."""
    try:
        return asyncio.run(call)
    except errors.Error as error:
        raise classify(error.stderr.decode(errors="replace")) from error
    except json.JSONDecodeError as error:
        raise HelmError(f"helm answered something that is not JSON: {error}") from error


def classify(stderr: str) -> HelmError | ClusterError | ValuesError:
    """Return our error for what helm said on stderr."""
    lines = [line.strip() for line in stderr.strip().splitlines() if not line.startswith(("WARNING", "level="))]
    text = " ".join(lines)[:800] or "helm failed and printed nothing"
    text = re.sub(r"^Error: ", "", text)
    for pattern, kind, hint in STDERR:
        if re.search(pattern, text, re.IGNORECASE):
            return kind(f"helm: {text}", hint=hint)
    return HelmError(f"helm: {text}", hint=".venv/bin/python -m deploy render shows what helm was given")
