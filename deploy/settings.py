"""Where to deploy, with what, and as whom: one frozen value, built once by the command line and passed down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deploy.errors import SettingsError

CHART_REPOSITORY = "https://clearml.github.io/clearml-helm-charts"
CHART_NAME = "clearml-agent"
CHART_VERSION = "5.3.3"
"""The newest chart without an upper Kubernetes version; 5.3.2 does not allow 1.33 and later."""

RELEASE = "clearml-agent"
NAMESPACE = "clearml"

NAME_LIMIT = 63


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
        cache = Path(environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "clearml-pods"
        given = {key: value for key, value in overrides.items() if value is not None}
        settings = cls(**{"kubeconfig": environ.get("KUBECONFIG") or None, "cache": cache, **given})  # type: ignore[arg-type]
        for what, name in (("release", settings.release), ("namespace", settings.namespace)):
            if not (0 < len(name) <= NAME_LIMIT and name.replace("-", "a").isalnum() and name == name.lower()):
                raise SettingsError(f"{what} {name!r} is not a Kubernetes name", hint=f"--{what} clearml-agent")
            if name.startswith("-") or name.endswith("-"):
                raise SettingsError(f"{what} {name!r} starts or ends with a dash", hint=f"--{what} clearml-agent")
        return settings

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
