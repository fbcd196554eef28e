"""Runs clearml-agent's Kubernetes glue in the agent pod, with what the chart hands over.

Nothing is installed at start: the wanted agent version is compared with the one in this image. Task pods read their
credentials from a Secret when the pod template says so, in place of finding them in their own arguments, and have an
account of their own. pod_glue.py makes pods of tasks.

Outside systems: the ClearML server and, through pod_api.py, the cluster. Run by this image's entrypoint.sh only.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
import tempfile
from collections.abc import Mapping, MutableMapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from pod_arguments import GIT  # type: ignore[import-not-found]
from pod_glue import Glue  # type: ignore[import-not-found]

from clearml_access.queue_policy import WORKER, PolicyError, QueuePolicy

HOSTS = {
    "api_server": "CLEARML_API_HOST",
    "web_server": "CLEARML_WEB_HOST",
    "files_server": "CLEARML_FILES_HOST",
}
KEYS = {"access_key": "CLEARML_API_ACCESS_KEY", "secret_key": "CLEARML_API_SECRET_KEY"}

GIT_SETTINGS = ("agent.git_user", "agent.git_pass")

CONF_FOLDER = "/etc/clearml-pods"
"""Where task pods find a `clearml.conf` that the pod template mounts from a Secret."""

TAKE_CONF = f"cat {CONF_FOLDER}/clearml.conf ~/clearml.conf > ~/.clearml.conf && mv ~/.clearml.conf ~/clearml.conf"
"""Puts it before what the pod was given in its arguments: as in the agent, the server's addresses win."""

KIND = "CLEARML_K8S_GLUE_KIND"
"""What the stock glue makes of tasks: pods or jobs."""

TASK_ACCOUNT = "K8S_GLUE_TASK_ACCOUNT"
"""Names the ServiceAccount that task pods run as; the chart knows only the agent's own."""


def check_version(wanted: str | None) -> None:
    """End the pod if the release asks for another agent than this image holds."""
    installed = version("clearml-agent")
    try:
        fits = not wanted or installed in SpecifierSet(wanted, prereleases=True)
    except InvalidSpecifier:
        fits = False
    if not fits:
        sys.exit(
            f"Error: CLEARML_AGENT_UPDATE_VERSION asks for clearml-agent{wanted}, this image holds {installed}.\n"
            "Hint: make agentk8sglue.extraEnvs and agentk8sglue.image agree in helm/values-agent.yaml"
        )


def check_kind(kind: str | None) -> None:
    """End the pod if it is to make jobs: they would have neither their reasons nor their ends on record."""
    if (kind or "pod").strip().lower() != "pod":
        sys.exit(
            f"Error: {KIND}={kind}: this image makes pods and watches those.\n"
            "Hint: leave agentk8sglue.taskAsJob and that variable out of the values, or use the chart's agent image"
        )


def queue_policy(environ: Mapping[str, str]) -> QueuePolicy:
    """Return what the values say of the queue; end the pod if they cannot be read."""
    try:
        return QueuePolicy.read(environ)
    except PolicyError as error:
        sys.exit(f"Error: {error}\nHint: correct agentk8sglue.extraEnvs in the values of this queue")


def configuration(environ: dict[str, str], template: Template, mounted: Path) -> str:
    """Return the `clearml.conf` that every task pod gets in its arguments.

    Arguments can be read by everyone who may list pods. So the agent's own file is part of it only where the pod
    template does not mount it, and credentials only where the pod template has none of its own.
    """
    lines = ["# From the agent."]  # never empty: the stock glue would take the agent's own file instead
    if mounted.is_file() and not template.mounts_configuration:
        lines.append(mounted.read_text(encoding="utf-8"))
    settings = {name: environ[variable] for name, variable in HOSTS.items() if environ.get(variable)}
    lines += [f"api.{name}: {json.dumps(value)}" for name, value in settings.items()]
    if not set(KEYS.values()) <= template.variables:
        print("Warning: task pods carry the API keys in their arguments; give them by secretKeyRef in the pod template")
        keys = {name: environ[variable] for name, variable in KEYS.items() if environ.get(variable)}
        lines += [f"api.credentials.{name}: {json.dumps(value)}" for name, value in keys.items()]
    # The glue encodes it as ASCII; configuration files take JSON's escapes.
    return re.sub(r"[^\x00-\x7f]", lambda found: f"\\u{ord(found[0]):04x}", "\n".join(lines))


class Template:
    """What task pods are made of, by the chart."""

    def __init__(self, content: dict[str, Any] | None) -> None:
        self.spec: dict[str, Any] = (content or {}).get("spec") or {}
        container = (self.spec.get("containers") or [{}])[0]
        self.variables = {entry.get("name") for entry in container.get("env") or []}
        self.mounts_configuration = CONF_FOLDER in {item["mountPath"] for item in container.get("volumeMounts") or []}


def drop_git_credentials(environ: MutableMapping[str, str], template: Template) -> None:
    """Take git's credentials out of the environment: the stock glue copies them into every task pod's arguments."""
    dropped = [name for name in GIT if environ.pop(name, "")]
    if dropped and not template.variables & set(GIT):
        print(
            f"Warning: {', '.join(dropped)} of the agent's environment does not reach task pods; "
            "give it to them by secretKeyRef (agentk8sglue.basePodTemplate.env)"
        )


def main() -> None:
    """Serve the queue until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queue", required=True)
    parser.add_argument("--namespace")
    parser.add_argument("--template-yaml", type=Path)
    parser.add_argument("--overrides-yaml")
    parser.add_argument("--max-pods", type=int)
    parser.add_argument("--create-queue", action="store_true")
    parser.add_argument("--use-owner-token", action="store_true")
    asked = parser.parse_args()
    check_version(os.environ.get("CLEARML_AGENT_UPDATE_VERSION"))
    check_kind(os.environ.get(KIND))
    mounted = Path(os.environ.get("CLEARML_CONFIG_FILE") or Path.home() / "clearml.conf")
    given = asked.template_yaml.read_text(encoding="utf-8") if asked.template_yaml else ""
    policy = queue_policy(os.environ)
    if worker := os.environ.get(WORKER):
        os.environ["CLEARML_WORKER_ID"] = worker
    template = Template(yaml.safe_load(given))
    drop_git_credentials(os.environ, template)
    with tempfile.NamedTemporaryFile("w", encoding="ascii", suffix=".conf") as file:
        file.write(configuration(dict(os.environ), template, mounted))
        file.flush()
        glue = Glue(
            policy,
            namespace=asked.namespace,
            template_yaml=str(asked.template_yaml) if asked.template_yaml else None,
            overrides_yaml=asked.overrides_yaml,
            max_pods_limit=asked.max_pods,
            clearml_conf_file=file.name,
            extra_bash_init_script=TAKE_CONF if template.mounts_configuration else None,
        )
    for name in GIT_SETTINGS:
        glue._session.config.put(name, "")  # as its environment: task pods have their own
    if account := os.environ.get(TASK_ACCOUNT):
        Template(glue.template_dict).spec["serviceAccountName"] = account
    signal.signal(signal.SIGTERM, glue.stop)
    try:
        # As `clearml_access.agent_values.queue_names`, which is not in this image.
        queues = [name.strip() for name in asked.queue.split(",") if name.strip()]
        glue.k8s_daemon(queues, create_queue=asked.create_queue, use_owner_token=asked.use_owner_token)
    except SystemExit:
        # By now the worker is unregistered; the interpreter's own end would wait for threads that sleep.
        print("Stopped by SIGTERM", flush=True)
        os._exit(0)


if __name__ == "__main__":
    main()
