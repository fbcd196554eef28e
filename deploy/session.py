"""One run of a command: its settings, and the helm, cluster, server and plan that it needs, made when first asked for.

So `doctor` can ask for each by itself and report what fails, and `--help` needs none of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clearml_access import credentials, url_credentials
from clearml_access.agent_values import values_file
from clearml_access.credentials import Server
from clearml_access.errors import ConfigurationError, NoCredentialsError, UserFacingError
from deploy import pod_values, worker_names
from deploy.errors import SettingsError
from deploy.helm import values
from deploy.kubernetes.ownership import Owner
from deploy.plan import Plan
from deploy.settings import Settings
from deploy.waiting import POLL_S, Clock, Wait, system_clock

if TYPE_CHECKING:
    from deploy.clearml.api import ClearmlApi
    from deploy.helm.charts import Chart
    from deploy.helm.release import Capabilities, Helm, Revision
    from deploy.kubernetes.cluster import Cluster


def _silent(_: str) -> None:
    return


@dataclass
class Session:
    """What a use case works with."""

    settings: Settings
    environ: Mapping[str, str]
    say: Callable[[str], None] = field(default=_silent)
    """Reports progress to the person."""

    clock: Clock = field(default_factory=system_clock)

    base: Session | None = None
    """The session of the deployment's base release, whose cluster, server and chart a queue's release shares."""

    def of_queue(self, name: str, file: Path | None) -> Session:
        """Return the session of the release that a queue file makes, or made before it was removed."""
        settings = self.settings.of_queue(name, file)
        return Session(settings, self.environ, lambda text: self.say(f"{settings.release}: {text}"), self.clock, self)

    @cached_property
    def server(self) -> Server:
        """The ClearML server and its keys."""
        if self.base:
            return self.base.server
        found = credentials.find(self.environ)
        if not found.secret_key:
            raise NoCredentialsError(
                f"{found.source} gives a token and no access key: the agent needs a key of its own",
                hint="make a key in the server's web pages (Settings, Workspace) and put it into clearml.conf",
            )
        return found

    @cached_property
    def api(self) -> ClearmlApi:
        """The ClearML API."""
        from deploy.clearml.api import ClearmlApi

        return self.base.api if self.base else ClearmlApi(self.server)

    @cached_property
    def cluster(self) -> Cluster:
        """The cluster."""
        from deploy.kubernetes.cluster import Cluster

        return self.base.cluster.of(self.owner) if self.base else Cluster(self.settings, self.owner)

    @cached_property
    def owner(self) -> Owner:
        """What tells the release's objects from those of others."""
        return Owner(self.settings.release, self.settings.fullname)

    @cached_property
    def agent(self) -> Owner:
        """The same with the installed agent's name on the server; the chart's where that cannot be known."""
        try:
            return replace(self.owner, worker=self._installed_worker())
        except UserFacingError:
            return self.owner

    def agent_of(self, plan: Plan) -> Owner:
        """The same with the name of a plan's agent."""
        return replace(self.owner, worker=pod_values.worker_of(plan.values))

    @cached_property
    def began(self) -> str:
        """When the command began: the mark of what it did to all releases of the deployment."""
        return self.base.began if self.base else self.now().isoformat(timespec="milliseconds")

    def require_kubeconfig(self) -> None:
        """Read the kubeconfig before helm does, which falls back to localhost:8080 where there is none.

        Raises:
            KubeconfigError: It is missing or cannot be used.
        """
        _ = self.cluster

    @cached_property
    def helm(self) -> Helm:
        """Helm."""
        from deploy.helm.release import Helm

        return self.base.helm.of(self.settings) if self.base else Helm(self.settings, self.environ)

    @cached_property
    def chart(self) -> Chart:
        """The chart, fetched if need be."""
        return self.base.chart if self.base else self.helm.chart()

    @cached_property
    def capabilities(self) -> Capabilities:
        """What the chart's templates see of the cluster."""
        from deploy.helm.release import Capabilities

        if self.base:
            return self.base.capabilities
        return Capabilities(self.cluster.version(), tuple(self.cluster.api_versions()))

    @cached_property
    def plan(self) -> Plan:
        """The release as it should be."""
        return self._plan(self.server, worker=self._wanted_worker())

    @cached_property
    def objects(self) -> list[dict[str, Any]]:
        """What the chart makes of the plan."""
        return self.helm.render(self.chart, self.plan.values, self.capabilities)

    @cached_property
    def plan_without_server(self) -> Plan:
        """The release as it should be, but for what the server determines: it need not be known."""
        return self._plan(None)

    @cached_property
    def plan_for_git(self) -> Plan:
        """The release as files in git say it: without anything of the keys, which need not be known here."""
        try:
            server = self.server
        except NoCredentialsError:
            server = credentials.find(self.environ, needs_key=False)
        return self._plan(server, by_git=True)

    @cached_property
    def is_new(self) -> bool:
        """Whether an install would make the release: none of it is there."""
        return not self.cluster.has_namespace() or (self.revision is None and not self.applied)

    def _installed_worker(self) -> str:
        """Return the name that the installed agent was given; nothing where it has the chart's."""
        from deploy import applied

        # The Deployment is asked first, since that takes no process of helm's.
        if deployment := self.cluster.deployment(self.settings.fullname):
            return pod_values.worker_of(applied.plan_of(self.settings, deployment).values)
        return "" if self.is_new or self.revision is None else pod_values.worker_of(self.revision.values)

    def _wanted_worker(self) -> str:
        """Return the name that the values are to give to the agent; nothing where the chart's will do.

        A release keeps what it has.
        """
        try:
            if not self.is_new:
                return self._installed_worker()
            return worker_names.free(self.owner, self.settings.namespace, self.api.workers(), self.now())
        except UserFacingError:  # the preflight says what is wrong; a rendering asks nobody
            return ""

    def _plan(self, server: Server | None, *, by_git: bool = False, worker: str = "") -> Plan:
        return Plan.of(
            self.settings,
            server,
            values.parse(_read(values_file()), str(values_file())),
            [values.parse(_read(path), str(path)) for path in self.settings.values_files],
            values.parse(_read(file), str(file)) if (file := self.settings.queue_file) else None,
            by_git=by_git,
            worker=worker,
            chart_defaults=self.chart.defaults,
            chart_words=self.chart.words,
            chart_version=f"{self.chart.name}-{self.chart.version}",
            chart_kube_version=self.chart.kube_version,
        )

    @cached_property
    def revision(self) -> Revision | None:
        """The release's current revision when the command first asked; None if helm knows no release."""
        return self.helm.revision()

    @cached_property
    def installed(self) -> Plan:
        """The release as it is, for which its chart need not be reachable; as it should be, where there is none."""
        from deploy import applied

        if self.revision is not None:
            return self.plan_of(self.revision)
        return applied.plan_of(self.settings, self.applied) if self.applied else self.plan

    @cached_property
    def applied(self) -> dict[str, Any] | None:
        """The agent's Deployment where something other than helm applied it."""
        return None if self.revision else self.cluster.deployment(self.settings.fullname)

    def plan_of(self, revision: Revision) -> Plan:
        """Return the release as a revision of it was."""
        computed = self.helm.values_of(revision.number, computed=True)
        return Plan(self.settings, revision.values, computed, revision.chart, chart_kube_version="")

    def now(self) -> datetime:
        """Return the time."""
        return self.clock.now()

    def wait(self, deadline_s: float, poll_s: float = POLL_S) -> Wait:
        """Begin a wait of at most `deadline_s`."""
        return Wait(deadline_s, self.clock, poll_s)

    def redact(self, text: str) -> str:
        """Return a text without the secret key and without credentials in addresses, wherever it came from."""
        text = url_credentials.hide(text)
        try:
            secret = self.server.secret_key
        except ConfigurationError:
            return text
        return text.replace(secret, "***") if secret else text


def _read(path: os.PathLike[str]) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"values file {os.fspath(path)} cannot be read: {error}", hint="--values FILE") from error
