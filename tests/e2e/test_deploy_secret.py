"""Canary secrets through the whole life of an agent: nobody but the Secrets themselves ever holds them.

The access key, a token for git and one in a `clearml.conf` of a person's own.

Looked for, as it is and in base64 and in compressed Helm records: every object of the namespace, events, logs of every
pod, what Helm knows of the release, the arguments of every process on this machine, every word that was printed, the
task's record and console, the server's log.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import secrets
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.e2e.cluster_cli import until
from tests.e2e.deployer import NAMESPACE, ROOT, Deployer, run_task, status

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3_600)]

CODE = """\
import os, sys, time
own = open(os.path.expanduser("~/clearml.conf")).read()
print("here", sys.argv, "git token:", len(os.environ.get("CLEARML_AGENT_GIT_PASS", "")), flush=True)
print("own configuration:", "team_setting" in own, flush=True)
time.sleep(8)
"""


class Canary:
    """Secrets, and everything in which one of them was found."""

    def __init__(self, *secrets: str) -> None:
        self.forms = [form for secret in secrets for form in _forms(secret)]
        self.found: list[str] = []
        self.looked_at: list[str] = []

    def look(self, where: str, text: str) -> None:
        self.looked_at.append(where)
        if self.is_in(text):
            self.found.append(where)

    def is_in(self, text: str) -> bool:
        joined = re.sub(r"\s+", "", text)  # YAML and base64 break lines
        if any(form in joined for form in self.forms):
            return True
        # Encoded twice, as a configuration in a script in a pod's arguments.
        inner = (_decoded(word) for word in re.findall(r"[A-Za-z0-9+/]{40,}={0,2}", text))
        return any(form in found for found in inner for form in self.forms)


def _forms(secret: str) -> list[str]:
    # Its base64 depends on what is before it: three ways, without the letters that neighbours share.
    encoded = [base64.b64encode(b"\0" * before + secret.encode()).decode() for before in range(3)]
    return [secret, *(text[4 if before else 0 : -4] for before, text in enumerate(encoded))]


def _decoded(word: str) -> str:
    word = word.rstrip("=")
    if len(word) % 4 == 1:  # no base64 has that length: a path, say, or one that something else follows
        word = word[:-1]
    return base64.b64decode(word + "=" * (-len(word) % 4)).decode(errors="replace")


class Arguments(threading.Thread):
    """Reads the arguments of every process again and again: pods' too, this is their node."""

    def __init__(self, canary: Canary) -> None:
        super().__init__(daemon=True)
        self._canary = canary
        self._end = threading.Event()
        self._seen: set[bytes] = set()

    def run(self) -> None:
        while not self._end.wait(0.05):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    words = path.read_bytes()
                except OSError:  # it has ended
                    continue
                if words not in self._seen:
                    self._seen.add(words)
                    text = words.replace(b"\0", b" ").decode(errors="replace")
                    self._canary.look(f"arguments {text[:80]}", text)

    def __enter__(self) -> Arguments:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self.join()


def objects(deploy: Deployer) -> Iterator[tuple[str, str]]:
    """Every kind of object in the namespace, but Secrets; then those, one by one, Helm's unpacked."""
    kinds = deploy.kubectl("api-resources", "--namespaced", "--verbs=list", "--output=name").split()
    for kind in kinds:
        if kind != "secrets":
            yield kind, deploy.kubectl("get", kind, "--output=yaml")
    for secret in json.loads(deploy.kubectl("get", "secrets", "--output=json"))["items"]:
        for key, value in (secret.get("data") or {}).items():
            content = base64.b64decode(value)
            if secret["type"].startswith("helm.sh/release"):
                content = gzip.decompress(base64.b64decode(content))
            yield f"secret {secret['metadata']['name']} {key}", content.decode(errors="replace")


def log_of(deploy: Deployer, pod: str) -> str:
    """Return what a pod has written; nothing where it is gone, as the canary's is soon after the install."""
    try:
        return deploy.kubectl("logs", pod, "--all-containers")
    except AssertionError as error:
        if "not found" not in str(error):
            raise
        return ""


@pytest.fixture
def with_secrets(deploy: Deployer, tmp_path: Path) -> Iterator[tuple[Deployer, list[str]]]:
    """A deployer whose values name Secrets of a person's own, a git token and a `clearml.conf`; and what these hold."""
    token, key = secrets.token_hex(20), secrets.token_hex(20)
    conf = f'sdk.aws.s3.secret: "{key}"\nsdk.team_setting: true\n'
    contents = {"git": {"token": token}, "team-conf": {"clearml.conf": conf}}
    made = [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": content}
        for name, content in contents.items()
    ]
    if deploy.namespace not in deploy.cluster.kubectl("get", "namespaces", "--output=name"):
        deploy.cluster.kubectl("create", "namespace", deploy.namespace)
    deploy.kubectl("create", "--filename=-", stdin=yaml.safe_dump_all(made))
    glue = yaml.safe_load((ROOT / "helm/values-agent.yaml").read_text())["agentk8sglue"]
    reference = {"secretKeyRef": {"name": "git", "key": "token"}}
    envs = [
        *glue["extraEnvs"],
        {"name": "CLEARML_AGENT_GIT_USER", "value": "robot"},
        {"name": "CLEARML_AGENT_GIT_PASS", "valueFrom": reference},
    ]
    values = {"agentk8sglue": {"extraEnvs": envs}, "clearml": {"existingClearmlConfigSecret": "team-conf"}}
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
    yield replace(deploy, values=(tmp_path / "values.yaml",)), [token, key]
    deploy.kubectl("delete", "secret", *contents)


def test_nobody_but_the_secrets_themselves_ever_holds_what_is_in_them(with_secrets, api):
    deploy, others = with_secrets
    made = api("auth.create_credentials")["credentials"]
    env = {"CLEARML_API_ACCESS_KEY": made["access_key"], "CLEARML_API_SECRET_KEY": made["secret_key"]}
    canary = Canary(made["secret_key"], *others)

    def said(command: str, *words: str, code: int = 0) -> None:
        canary.look(f"deploy {command}", deploy.run(command, *words, code=code, **env))

    with Arguments(canary):
        said("install", "--json")
        task = run_task(api, CODE)
        until("the task runs", lambda: status(api, task) == "in_progress")
        for pod in deploy.pods():
            name = pod["metadata"]["name"]
            canary.look(f"log of {name}", log_of(deploy, name))
        for what, text in objects(deploy):
            canary.look(what, text)
        said("logs", task, "--follow", "--raw")
        canary.look("helm get all", deploy.cluster.helm("get", "all", "clearml-agent", "--namespace", NAMESPACE))
        for command in ("status", "check", "doctor", "diff", "render"):
            said(command, "--json")
        said("doctor", "--task", task, code=0)
        said("install", "--verbose", "--json", "--set", "agentk8sglue.defaultContainerImage=none:none", code=34)
        for what, text in objects(deploy):
            canary.look(f"{what} after a rollback", text)
        console = deploy.run("logs", task, "--raw")
        assert "git token: 40" in console and "own configuration: True" in console
        until("the task ended", lambda: status(api, task) == "completed")
        canary.look("task", json.dumps(api("tasks.get_by_id", task=task)))
        canary.look("console", json.dumps(api("events.get_task_log", task=task)))
        canary.look("worker", json.dumps(api("workers.get_all")))
        said("uninstall", "--yes", "--json")
    canary.look("server's log", deploy.server.data.with_name(f"{deploy.server.data.name}.log").read_text())

    own = ("secret clearml-agent-keys agentk8sglue_secret", "secret git token", "secret team-conf clearml.conf")
    assert set(own) <= set(canary.found)  # the search sees what is there
    assert sorted({where for where in canary.found if not where.startswith(own)}) == []
    assert {"pods", "events", "configmaps"} <= set(canary.looked_at)
    assert len([where for where in canary.looked_at if where.startswith("arguments")]) > 50
    api("auth.revoke_credentials", access_key=made["access_key"])
