"""Where to deploy, with what, and as whom: one frozen value, built once by the command line and passed down."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from clearml_access.agent_values import values_file
from clearml_access.caches import cache_folder
from deploy.errors import SettingsError

CHART_REPOSITORY = "https://clearml.github.io/clearml-helm-charts"
CHART_NAME = "clearml-agent"
CHART_VERSION = "5.3.3"
"""The newest chart without an upper Kubernetes version; 5.3.2 does not allow 1.33 and later."""

RELEASE = "clearml-agent"
SERVING_RELEASE = "clearml-serving"
NAMESPACE = "clearml"

NAME_LIMIT = 63
RELEASE_NAME_LIMIT = 53
"""helm's limit."""


def is_name(text: str) -> bool:
    """Return whether Kubernetes takes a text as a name in every place (RFC 1123 label)."""
    return len(text) <= NAME_LIMIT and re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", text) is not None


@dataclass(frozen=True)
class Deadlines:
    """How long each wait may take, in seconds."""

    pods: float = 180.0
    worker: float = 60.0
    canary: float = 180.0
    old_agent: float = 90.0
    helm: float = 120.0
    probe: float = 60.0


@dataclass(frozen=True)
class Settings:
    """Everything a command needs to know."""

    namespace: str = NAMESPACE
    release: str = RELEASE
    kubeconfig: str | None = None
    context: str | None = None
    chart: str = CHART_NAME
    """A chart's name in `repository`, an `oci://` address, a folder or a `.tgz`."""

    chart_version: str | None = CHART_VERSION
    repository: str = CHART_REPOSITORY
    values_files: tuple[Path, ...] = ()
    sets: tuple[str, ...] = ()
    queues_folder: Path = field(default_factory=lambda: values_file().parent / "queues")
    """Holds a values file for each further release of the deployment."""

    only: tuple[str, ...] = ()
    """The releases of the deployment that a command works on; all of them when empty."""

    queue: str | None = None
    """Name of the queue file that this release is made from, without its ending; None for the base release."""

    queue_file: Path | None = None
    """That file; None when it is gone, too."""

    cache: Path = Path("~/.cache/clearml-pods")
    deadlines: Deadlines = field(default_factory=Deadlines)
    dry_run: bool = False
    canary: bool = True
    helm: str | None = None
    """Path of helm; found on PATH or fetched when None."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], **overrides: object) -> Settings:
        """Return the defaults, the environment over them, and the command line over both.

        Raises:
            SettingsError: A name is none that Kubernetes would take.
        """
        given = {key: value for key, value in overrides.items() if value is not None}
        settings = cls(**{"kubeconfig": environ.get("KUBECONFIG") or None, "cache": cache_folder(environ), **given})  # type: ignore[arg-type]
        names = (("release", settings.release, RELEASE_NAME_LIMIT), ("namespace", settings.namespace, NAME_LIMIT))
        for what, name, limit in names:
            if not is_name(name) or len(name) > limit:
                raise SettingsError(
                    f"{what} {name!r} is not a Kubernetes name: lower-case letters, digits, and dashes between them, "
                    f"and at most {limit} characters",
                    hint=f"--{what} {re.sub('[^a-z0-9]+', '-', name.lower())[:limit].strip('-') or 'clearml'}",
                )
        return settings

    def of_queue(self, name: str, file: Path | None) -> Settings:
        """Return the settings of the release that a queue file of this deployment makes.

        Args:
            name: The file's name without its ending.
            file: The file; None when it is gone and only its release is left.
        """
        return replace(self, release=f"{self.release}-{name}", queue=name, queue_file=file)

    @property
    def is_wanted(self) -> bool:
        """Whether the release should be there; not so when it was made from a queue file that is gone."""
        return self.queue is None or self.queue_file is not None

    @property
    def fullname(self) -> str:
        """The chart's name for its objects."""
        name = self.release if CHART_NAME in self.release else f"{self.release}-{CHART_NAME}"
        return name[:NAME_LIMIT].rstrip("-")

    @property
    def keys_secret(self) -> str:
        """Name of the Secret with the API keys."""
        return f"{self.fullname}-keys"

    @property
    def task_account(self) -> str:
        """Name of the ServiceAccount that task pods run as; it may do nothing."""
        return f"{self.fullname}-tasks"

    @property
    def role(self) -> str:
        """Name of the Role that the chart makes for the agent."""
        return f"{self.fullname}-kpa"

    @property
    def config_secret(self) -> str:
        """Name of the Secret with `clearml.conf`, which holds no keys."""
        return f"{self.fullname}-conf"
