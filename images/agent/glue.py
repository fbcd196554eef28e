"""Runs clearml-agent's Kubernetes glue in the agent pod, with what the chart hands over.

It adds these to the stock glue: no installation at start (the wanted agent version is compared with the one
in this image), an end at SIGTERM that neither drops a task just taken nor takes another, task pods that read
their credentials from a Secret when the pod template says so, in place of finding them in their own arguments, an
account of their own for task pods, and the reasons of dead pods on their tasks' records (recorder.py).

Outside systems: the ClearML server and, through kubectl, the cluster. Run by this image's entrypoint.sh only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import sys
import tempfile
import threading
from collections.abc import MutableMapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from clearml_agent.glue.k8s import K8sIntegration  # type: ignore[import-not-found]
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from recorder import Recorder  # type: ignore[import-not-found]

HOSTS = {
    "api_server": "CLEARML_API_HOST",
    "web_server": "CLEARML_WEB_HOST",
    "files_server": "CLEARML_FILES_HOST",
}
KEYS = {"access_key": "CLEARML_API_ACCESS_KEY", "secret_key": "CLEARML_API_SECRET_KEY"}

GIT = ("CLEARML_AGENT_GIT_USER", "CLEARML_AGENT_GIT_PASS", "TRAINS_AGENT_GIT_USER", "TRAINS_AGENT_GIT_PASS")
GIT_SETTINGS = ("agent.git_user", "agent.git_pass")

CONF_FOLDER = "/etc/clearml-pods"
"""Where task pods find a `clearml.conf` that the pod template mounts from a Secret."""

TAKE_CONF = f"cat {CONF_FOLDER}/clearml.conf ~/clearml.conf > ~/.clearml.conf && mv ~/.clearml.conf ~/clearml.conf"
"""Puts it before what the pod was given in its arguments: as in the agent, the server's addresses win."""

TASK_ACCOUNT = "K8S_GLUE_TASK_ACCOUNT"
"""Names the ServiceAccount that task pods run as; the chart knows only the agent's own."""


class Glue(K8sIntegration):  # type: ignore[misc]
    """The stock glue, able to stop between two tasks."""

    def __init__(self, **options: Any) -> None:
        self._in_hand = False
        self._stopping = False
        super().__init__(**options)

    def stop(self, *_: object) -> None:
        """End now, or once the task in hand has become a pod."""
        self._stopping = True
        if not self._in_hand:
            raise SystemExit(0)
        # A server that lets workers wait for a task (localserver does) answers one that is gone. To hang up instead
        # could lose a task that is on its way here.
        threading.Thread(target=self._say_goodbye, daemon=True).start()

    def _say_goodbye(self) -> None:
        with contextlib.suppress(Exception):  # only a head start: the glue waits for its answer in any case
            self._session.send_request("workers", "unregister", json={"worker": self.worker_id}, method="post")

    def _get_next_task(self, queue: str, get_task_info: bool) -> Any:
        if self._stopping:  # the stock loop may have swallowed the first attempt to end
            raise SystemExit(0)
        self._in_hand = True
        answer = super()._get_next_task(queue=queue, get_task_info=get_task_info)
        task = ((answer or {}).get("entry") or {}).get("task")
        if task and self._stopping:
            self._put_back(task, queue)
        if not task or self._stopping:
            self._done()
        return answer

    def _put_back(self, task: str, queue: str) -> None:
        """Leave a task that came while this agent was told to end to the next agent: it has the new settings."""
        print(f"Putting task {task} back into queue {queue}: this agent is to end", flush=True)
        tasks = self._session.api_client.tasks
        tasks.stop(task, force=True, status_reason="agent is to end")  # taken, it still counts as queued
        tasks.enqueue(task, queue=queue, status_reason="put back by an agent that is to end")

    def run_one_task(self, *words: Any, **options: Any) -> Any:
        """Make the task a pod."""
        try:
            return super().run_one_task(*words, **options)
        finally:
            self._done()

    def _done(self) -> None:
        self._in_hand = False
        if self._stopping:
            raise SystemExit(0)


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
        self.spec = (self.spec.get("template") or {}).get("spec") or self.spec  # a job's
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
    mounted = Path(os.environ.get("CLEARML_CONFIG_FILE") or Path.home() / "clearml.conf")
    given = asked.template_yaml.read_text(encoding="utf-8") if asked.template_yaml else ""
    template = Template(yaml.safe_load(given))
    drop_git_credentials(os.environ, template)
    with tempfile.NamedTemporaryFile("w", encoding="ascii", suffix=".conf") as file:
        file.write(configuration(dict(os.environ), template, mounted))
        file.flush()
        glue = Glue(
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
    Recorder(glue._session, glue.worker_id or "agent", glue.namespace).start()
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
