"""The fake helm's commands: what they do to the fake cluster and what they print, as helm 4 does.

The program on PATH is a few lines that hand its arguments and its stdin to the fake API server, where this runs:
its faults are the cluster's. Releases are kept as helm keeps them, in Secrets with a compressed record.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
from pathlib import Path
from typing import Any

from deploy.helm import documents
from deploy.helm import values as helm_values
from tests.fakes.helm import fake_chart
from tests.fakes.kubernetes.faults import RESET, Faults
from tests.fakes.kubernetes.store import FakeStore, Json, Refusal, now

PLURALS = {
    "ServiceAccount": "serviceaccounts",
    "ConfigMap": "configmaps",
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "Deployment": "deployments",
}

PROGRAM = r"""#!/bin/bash
LC_ALL=C # lengths in bytes
stdin=
for word; do if [[ $word == - ]]; then stdin=$(cat); fi; done
printf -v body '%s\x1f' "$@" "$stdin"
exec 3<>/dev/tcp/127.0.0.1/{port}
printf 'POST /fake-helm HTTP/1.1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s' "${{#body}}" "$body" >&3
while read -r line <&3 && [[ $line != $'\r' ]]; do :; done
read -r code <&3
if [[ $code == 0 ]]; then exec cat <&3; fi
cat <&3 >&2
exit "$code"
"""
"""In bash, which starts in a fifth of Python's time: an install starts a dozen of it."""

SEPARATOR = "\x1f"


def write_program(folder: Path, port: int) -> Path:
    """Write the program `helm` of the cluster whose API server is on `port`."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "helm"
    program.write_text(PROGRAM.format(port=port))
    program.chmod(0o755)
    return program


class HelmFailure(Exception):
    """helm ends with 1 and says this."""


class FakeHelm:
    """Helm for the releases of one fake cluster."""

    def __init__(self, store: FakeStore, faults: Faults) -> None:
        self._store, self._faults = store, faults
        self.version = "v4.1.4"
        self._merges = False
        self.calls: list[tuple[list[str], str]] = []
        """(argv, stdin) of each call."""

    def answer(self, asked: str) -> str:
        """Return what the program prints for what it was given: its exit code in a line of its own, and the text."""
        *argv, stdin, _ = asked.split(SEPARATOR)
        code, out, err = self.run(argv, stdin)
        return f"{code}\n{out}{err}"

    def run(self, argv: list[str], stdin: str) -> tuple[int, str, str]:
        """Run one command; return exit code, stdout and stderr."""
        self.calls.append((argv, stdin))
        if argv[0] == "version":
            return 0, self.version, ""
        try:
            return 0, self._command(argv, stdin), ""
        except HelmFailure as failure:
            return 1, "", f"Error: {failure}\n"
        except Refusal as refusal:
            return 1, "", f"Error: {refusal.message}\n"

    def _command(self, argv: list[str], stdin: str) -> str:
        words, options = _parsed(argv)
        if "--server-side" in options and not self.version.startswith("v4"):
            raise HelmFailure("unknown flag: --server-side")
        self._merges = options.get("--server-side") == "false" or not self.version.startswith("v4")
        namespace = options.get("--namespace", "default")
        if words[0] == "template":
            return fake_chart.written(self._render(words[1], namespace, Path(words[2]), json.loads(stdin)))
        if words[0] == "pull":
            raise HelmFailure('looks like "https://clearml.github.io" is not a valid chart repository')
        try:
            reset = self._faults.meet("HELM", f"/helm/{words[0]}") == RESET
        except Refusal as refusal:
            raise HelmFailure(refusal.message) from refusal
        if reset:
            raise HelmFailure("Kubernetes cluster unreachable: connection refused")
        if not self._faults.may("list", "secrets"):
            raise HelmFailure('query: failed to query with labels: secrets is forbidden: User "fake" cannot list')
        if words[0] == "upgrade":
            return self._upgrade(
                words[1], namespace, Path(words[2]), json.loads(stdin), options.get("--description", "")
            )
        if words[0] == "list":
            return json.dumps(self._list(namespace, options["--filter"]))
        release = words[-1] if words[0] in ("history", "uninstall", "get") else words[1]
        history = self._history(release, namespace)
        if not history:
            raise HelmFailure("release: not found")
        if words[0] == "history":
            return json.dumps([_entry(record) for record in history])
        if words[0] == "get":
            return self._get(words[1], history, options)
        if words[0] == "rollback":
            return self._rollback(namespace, history, int(words[2]))
        if words[0] == "uninstall":
            return self._uninstall(release, namespace, history)
        raise HelmFailure(f"the fake has no command {words[0]}")

    # -- releases

    def _history(self, release: str, namespace: str) -> list[Json]:
        secrets = self._store.select("secrets", namespace, f"owner=helm,name={release}")
        records = [unpacked(secret["data"]["release"]) for secret in secrets]
        return sorted(records, key=lambda record: record["version"])

    def _list(self, namespace: str, pattern: str) -> list[Json]:
        secrets = self._store.select("secrets", namespace, "owner=helm")
        names = {secret["metadata"]["labels"]["name"] for secret in secrets}
        return [{"name": name, "namespace": namespace} for name in sorted(names) if re.search(pattern, name)]

    def write(self, record: Json) -> None:
        """Keep a release's record."""
        name = f"sh.helm.release.v1.{record['name']}.v{record['version']}"
        status = record["info"]["status"]
        labels = {"owner": "helm", "name": record["name"], "status": status, "version": str(record["version"])}
        body = {"metadata": {"name": name, "labels": labels}, "type": "helm.sh/release.v1"}
        body["data"] = {"release": packed(record)}
        if self._store.find("secrets", record["namespace"], name):
            self._store.replace("secrets", record["namespace"], name, body)
        else:
            self._store.create("secrets", record["namespace"], body)

    def mark_last(self, namespace: str, status: str) -> None:
        """Leave the last record as a helm that was killed at work leaves it."""
        last = self._history("clearml-agent", namespace)[-1]
        self.write({**last, "info": {**last["info"], "status": status}})

    def _upgrade(self, release: str, namespace: str, chart: Path, values: Json, description: str) -> str:
        history = self._history(release, namespace)
        if history and history[-1]["info"]["status"].startswith("pending"):
            raise HelmFailure("UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress")
        record = {
            "name": release,
            "namespace": namespace,
            "version": history[-1]["version"] + 1 if history else 1,
            "info": {
                "status": "pending-upgrade" if history else "pending-install",
                "last_deployed": now(),
                "description": description,
            },
            "chart": self._about(chart),
            "config": values,
            "manifest": fake_chart.written(self._render(release, namespace, chart, values)),
        }
        self.write(record)
        self._apply(record, history)
        return json.dumps({"name": release, "version": record["version"]})

    def _rollback(self, namespace: str, history: list[Json], to: int) -> str:
        target = next((record for record in history if record["version"] == to), None)
        if target is None:
            raise HelmFailure(f"release has no {to} version")
        info = {"status": "pending-rollback", "last_deployed": now(), "description": f"Rollback to {to}"}
        record = {**target, "version": history[-1]["version"] + 1, "info": info}
        self.write(record)
        self._apply(record, history)
        return "Rollback was a success! Happy Helming!\n"

    def _apply(self, record: Json, history: list[Json]) -> None:
        """Bring the objects from the last manifest to this one, then note how it went."""
        namespace = record["namespace"]
        before = {key(item): item for old in history[-1:] for item in documents.read_all(old["manifest"])}
        after = {key(item): item for item in documents.read_all(record["manifest"])}
        try:
            for kind, name in after:
                self._put(kind, namespace, record["name"], before.get((kind, name)), after[kind, name])
            for kind, name in before.keys() - after.keys():
                self._store.delete(kind, namespace, name)
        except Refusal as refusal:
            record["info"] |= {"status": "failed", "description": refusal.message}
            self.write(record)
            raise HelmFailure(f"UPGRADE FAILED: {refusal.message}") from refusal
        for old in history:
            if old["info"]["status"] in ("deployed", "failed") or old["info"]["status"].startswith("pending"):
                ended = "superseded" if old["info"]["status"] == "deployed" else old["info"]["status"]
                self.write({**old, "info": {**old["info"], "status": ended}})
        record["info"]["status"] = "deployed"
        self.write(record)

    def _put(self, kind: str, namespace: str, release: str, before: Json | None, wanted: Json) -> None:
        name = wanted["metadata"]["name"]
        for item in filter(None, (before, wanted)):
            _mark(item, release)
        live = self._store.find(kind, namespace, name)
        if not self._faults.may("update" if live else "create", kind):
            raise Refusal(403, "Forbidden", f'{kind} "{name}" is forbidden: User "fake" cannot create')
        if live is None:
            self._store.create(kind, namespace, wanted)
            return
        if not self._merges and before and kind == "roles" and live.get("rules") != before.get("rules"):
            raise Refusal(409, "Conflict", f"Apply failed with 1 conflict: object {namespace}/{name}: .rules")
        body = three_way(before or {}, wanted, live)
        body["metadata"].pop("resourceVersion", None)
        self._store.replace(kind, namespace, name, body)

    def _uninstall(self, release: str, namespace: str, history: list[Json]) -> str:
        for item in documents.read_all(history[-1]["manifest"]):
            kind, name = key(item)
            if self._store.find(kind, namespace, name):
                self._store.remove(kind, namespace, name)
                if kind == "deployments":
                    self._end_pods(item, namespace)
        for record in history:
            self._store.remove("secrets", namespace, f"sh.helm.release.v1.{release}.v{record['version']}")
        return f'release "{release}" uninstalled\n'

    def _end_pods(self, deployment: Json, namespace: str) -> None:
        labels = deployment["spec"]["selector"]["matchLabels"]
        for pod in self._store.select("pods", namespace, ",".join(f"{name}={value}" for name, value in labels.items())):
            self._store.delete("pods", namespace, pod["metadata"]["name"])

    # -- what is asked

    def _get(self, what: str, history: list[Json], options: dict[str, str]) -> str:
        wanted = int(options.get("--revision") or history[-1]["version"])
        record = next((item for item in history if item["version"] == wanted), None)
        if record is None:
            raise HelmFailure("release: not found")
        if what == "manifest":
            return str(record["manifest"])
        if "--all" in options:
            return json.dumps(helm_values.computed(record["chart"]["values"], record["config"]))
        return json.dumps(record["config"])

    def _render(self, release: str, namespace: str, chart: Path, values: Json) -> list[Json]:
        computed = helm_values.computed(self._about(chart)["values"], values)
        return fake_chart.rendered(release, namespace, computed)

    @staticmethod
    def _about(chart: Path) -> Json:
        metadata = documents.read((chart / "Chart.yaml").read_text())
        return {"metadata": metadata, "values": documents.read((chart / "values.yaml").read_text())}


def packed(record: Json) -> str:
    """Return a record as a Secret's data holds it."""
    return base64.b64encode(base64.b64encode(gzip.compress(json.dumps(record).encode(), 1))).decode()


def unpacked(text: str) -> Json:
    """Return the record of a Secret's data."""
    return dict(json.loads(gzip.decompress(base64.b64decode(base64.b64decode(text)))))


def key(item: Json) -> tuple[str, str]:
    return PLURALS[item["kind"]], item["metadata"]["name"]


def three_way(before: Any, wanted: Any, live: Any) -> Any:
    """Return what helm makes of a live object: what the chart named before and names no more goes, all else stays."""
    if not isinstance(wanted, dict) or not isinstance(live, dict):
        return wanted
    before = before if isinstance(before, dict) else {}
    kept = {name: value for name, value in live.items() if name in wanted or name not in before}
    return kept | {name: three_way(before.get(name), value, live.get(name)) for name, value in wanted.items()}


def _mark(item: Json, release: str) -> None:
    """Note on an object whose it is, as helm does."""
    metadata = item["metadata"]
    metadata["annotations"] = {**(metadata.get("annotations") or {}), "meta.helm.sh/release-name": release}
    metadata["labels"] = {**(metadata.get("labels") or {}), "app.kubernetes.io/managed-by": "Helm"}


def _entry(record: Json) -> Json:
    about = record["chart"]["metadata"]
    return {
        "revision": record["version"],
        "updated": record["info"]["last_deployed"],
        "status": record["info"]["status"],
        "chart": f"{about['name']}-{about['version']}",
        "description": record["info"]["description"],
    }


FLAGS = (
    *("--install", "--reset-values", "--all", "--wait", "--wait-for-jobs", "--cleanup-on-fail"),
    *("--deployed", "--failed", "--pending", "--uninstalling"),
    *("--create-namespace", "--no-hooks", "--skip-crds", "--include-crds", "--is-upgrade"),
)


def _parsed(argv: list[str]) -> tuple[list[str], dict[str, str]]:
    words: list[str] = []
    options: dict[str, str] = {}
    rest = iter(argv)
    for word in rest:
        if not word.startswith("-"):
            words.append(word)
        elif word in FLAGS:
            options[word] = ""
        elif "=" in word:
            name, _, options[name] = word.partition("=")
        else:
            options[word] = next(rest, "")
    return words, options
