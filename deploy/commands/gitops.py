"""The release as files for a git repository: Argo CD, Flux or kubectl apply them, without this tool.

No file holds a key. The agent reads its keys from a Secret, which is made by External Secrets, by sealed-secrets or by
hand; an example of each is written too. The addresses of the server come from its configuration or from the values, so
that a CI job without keys can write the same files.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from clearml_access.credentials import VARIABLES, how_to_set, is_loopback
from clearml_access.errors import ConfigurationError
from deploy import releases
from deploy.commands.operations import render
from deploy.errors import SettingsError, ValuesError
from deploy.helm import documents
from deploy.helm import values as v
from deploy.kubernetes.cluster import service_account
from deploy.plan import URLS, Plan
from deploy.pod_values import POD_KEYS
from deploy.session import Session
from deploy.settings import is_name

HEAD = """\
# Written by `deploy render --gitops`: change the values and write it again. Holds no keys.
"""

SEALED = """\
# Write agentk8sglue_key=… and agentk8sglue_secret=… into keys.env, outside the repository. Then:
#   kubectl create secret generic {secret} --namespace {namespace} --from-env-file=keys.env --dry-run=client -o yaml \\
#     | kubeseal --format yaml > sealed-secret.yaml
# The result looks like this:
"""

EXTERNAL = """\
# Set the store, and the names that the keys have in it.
"""


MARKS = frozenset(text.splitlines()[0] for text in (HEAD, SEALED, EXTERNAL))
"""The first line of each file that is written here. No other file is overwritten or removed."""

KUSTOMIZATION = "kustomization.yaml"
EXTERNAL_EXAMPLE, SEALED_EXAMPLE = "examples/external-secret.yaml", "examples/sealed-secret.yaml"
NAMES = (
    *("values.yaml", "agent.yaml", "configuration.yaml", "account.yaml"),
    *(KUSTOMIZATION, EXTERNAL_EXAMPLE, SEALED_EXAMPLE),
)
"""All files that a release may have."""


@dataclass(frozen=True)
class Written:
    """What was done to the folder."""

    written: list[str]
    removed: list[str]


def write(base: Session, folder: Path) -> Written:
    """Write the files of a deployment: the base release's, and in a folder each those of the queue files.

    Files of an earlier call that are not made any more are removed, unless `--only` leaves out a part of them.

    Raises:
        SettingsError: The server's addresses are not known or mean this machine, a file of the same name was not
            written by this command, or the folder cannot be written.
        ValuesError: A file would hold a key.
    """
    wanted = releases.wanted(base)
    further = {str(session.settings.queue): session for session in wanted if session.settings.queue}
    content = files(base, [*further]) if base in wanted else {}
    for queue, session in further.items():
        content |= {f"{queue}/{name}": text for name, text in files(session).items()}
    paths = {folder / name: text for name, text in content.items()}
    try:
        for path in paths:
            if path.exists() and not _is_ours(path):
                raise SettingsError(
                    f"{path} was not written by this command",
                    hint=f"name a folder of its own, such as {folder / 'agent'}",
                )
        stale = [] if base.settings.only else [path for path in _earlier(folder) if path not in paths]
        for path, text in paths.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        for path in stale:
            _remove(path, folder)
    except OSError as error:
        raise SettingsError(f"{folder} cannot be written: {error.strerror}", hint="--gitops FOLDER") from error
    return Written(list(map(str, paths)), list(map(str, stale)))


def _is_ours(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.readline().rstrip() in MARKS


def _earlier(folder: Path) -> list[Path]:
    """Return the files of an earlier call: those in the folder and in the folders that its kustomization includes."""
    kustomization = folder / KUSTOMIZATION
    if not _is_ours(kustomization):
        return []
    try:
        found = yaml.safe_load(kustomization.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):  # edited by hand
        return []
    resources = (found.get("resources") if isinstance(found, dict) else None) or []
    folders = [folder, *(folder / name for name in resources if isinstance(name, str) and is_name(name))]
    return [path for each in folders for name in NAMES if _is_ours(path := each / name)]


def _remove(path: Path, folder: Path) -> None:
    """Remove a file, and the folders that are empty then."""
    path.unlink()
    with suppress(OSError):  # the folder holds other files
        for above in path.parents:
            if above == folder:
                break
            above.rmdir()


def files(session: Session, further: Sequence[str] = ()) -> dict[str, str]:
    """Return the text of each file of a release.

    Args:
        session: The release.
        further: Folders of other releases, which its kustomization applies too.

    Raises:
        SettingsError: The server's addresses are not known, or mean this machine.
        ValuesError: A file would hold a key.
    """
    plan = session.plan_for_git
    _require_addresses(plan)
    namespace, resources = session.settings.namespace, ["agent.yaml"]
    helm = f"helm template {session.settings.release} CHART --namespace {namespace} --values values.yaml"
    found = {
        "values.yaml": HEAD
        + f"# Chart {plan.chart_version}: `{helm}` makes agent.yaml.\n"
        + documents.text([plan.values]),
        "agent.yaml": HEAD + render(session, plan),
    }
    if plan.makes_config_secret:
        resources.append("configuration.yaml")
        content = {"clearml.conf": plan.configuration}
        found["configuration.yaml"] = HEAD + documents.text([_secret(session.settings.config_secret, content)])
    if plan.makes_task_account:
        resources.append("account.yaml")
        found["account.yaml"] = HEAD + documents.text([service_account(plan.task_account, session.owner.labels)])
    found[KUSTOMIZATION] = HEAD + documents.text([_kustomization(session, [*resources, *further], plan)])
    if plan.makes_keys_secret:
        found[EXTERNAL_EXAMPLE] = EXTERNAL + documents.text([_external(plan.keys_secret)])
        head = SEALED.format(secret=plan.keys_secret, namespace=namespace)
        found[SEALED_EXAMPLE] = head + documents.text([_sealed(plan.keys_secret, namespace)])
    _require_no_key(session, found)
    return found


def _require_addresses(plan: Plan) -> None:
    urls = {path: str(v.get(plan.values, path) or "") for path in URLS.values()}
    for path, url in urls.items():
        if is_loopback(url):
            raise SettingsError(f"a pod cannot reach a loopback address: {url}", hint=f"--set {path}=http://…")
    if missing := [f"CLEARML_{VARIABLES[kind][0]}" for kind, path in URLS.items() if not urls[path]]:
        values = ", ".join(path for path, url in urls.items() if not url)
        raise SettingsError(
            f"the server's addresses are not known: {', '.join(missing)} not set, and no value {values}",
            hint=how_to_set(missing),
        )


def _require_no_key(session: Session, found: dict[str, str]) -> None:
    try:
        server = session.server
    except ConfigurationError:
        return
    keys = [key for key in (server.access_key, server.secret_key) if key]
    for name, text in found.items():
        if any(key in text for key in keys):
            raise ValuesError(
                f"{name} would hold the access key of {server.source}",
                hint="name a Secret in the values: valueFrom.secretKeyRef in place of value",
            )


def _kustomization(session: Session, resources: list[str], plan: Plan) -> dict[str, Any]:
    # The chart names no strategy, and with a rolling update the old agent keeps taking tasks beside the new one. Its
    # Role lets the agent read all Secrets.
    changes = {
        ("Deployment", session.settings.fullname): ("add", "/spec/strategy", {"type": "Recreate"}),
        ("Role", session.settings.role): ("replace", "/rules", plan.agent_role),
    }
    patches = [
        {
            "target": {"kind": kind, "name": name},
            "patch": documents.text([[{"op": verb, "path": path, "value": value}]]),
        }
        for (kind, name), (verb, path, value) in changes.items()
    ]
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": session.settings.namespace,
        "resources": resources,
        "patches": patches,
    }


def _secret(name: str, content: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": content}


def _external(name: str) -> dict[str, Any]:
    data = [
        {"secretKey": key, "remoteRef": {"key": "clearml-agent", "property": variable.lower()}}
        for variable, key in POD_KEYS.items()
    ]
    return {
        "apiVersion": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "metadata": {"name": name},
        "spec": {
            "refreshInterval": "1h",
            "secretStoreRef": {"kind": "ClusterSecretStore", "name": "my-store"},
            "target": {"name": name},
            "data": data,
        },
    }


def _sealed(name: str, namespace: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    spec = {"encryptedData": dict.fromkeys(POD_KEYS.values(), "AgB…"), "template": {"metadata": metadata}}
    return {"apiVersion": "bitnami.com/v1alpha1", "kind": "SealedSecret", "metadata": metadata, "spec": spec}
