"""The keys that the chart `clearml-agent` 5.3.x reads, and what may stand at each.

The chart ships no schema: it silently ignores a misspelled or wrongly nested key, and the agent starts with the
placeholder credentials (clearml-agent#237). This table is ours, from the chart's documented values; it knows nothing
of Kubernetes' own objects, so below `volumes`, `tolerations` and their like anything goes.

Pure.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

from clearml_access.agent_values import QUEUE, queue_names
from clearml_access.queue_policy import WORKER, PolicyError, QueuePolicy
from deploy.errors import ValuesError
from deploy.helm.values import environment

TEXT, NUMBER, FLAG, LIST, MAPPING = "a text", "a whole number", "true or false", "a list", "a mapping"

_TYPES: dict[str, type | tuple[type, ...]] = {TEXT: str, NUMBER: int, FLAG: bool, LIST: list, MAPPING: dict}

_CONTAINER = {"resources": MAPPING}
_POD = {
    "labels": MAPPING,
    "annotations": MAPPING,
    "nodeSelector": MAPPING,
    "tolerations": LIST,
    "affinity": MAPPING,
    "volumes": LIST,
    "volumeMounts": LIST,
    "fileMounts": LIST,
    "podSecurityContext": MAPPING,
    "containerSecurityContext": MAPPING,
    "resources": MAPPING,
}

SCHEMA: dict[str, Any] = {
    "global": {"imageRegistry": TEXT},
    "imageCredentials": {
        "enabled": FLAG,
        "existingSecret": TEXT,
        "registry": TEXT,
        "username": TEXT,
        "password": TEXT,
        "email": TEXT,
    },
    "clearml": {
        "existingAgentk8sglueSecret": TEXT,
        "agentk8sglueKey": TEXT,
        "agentk8sglueSecret": TEXT,
        "existingClearmlConfigSecret": TEXT,
        "clearmlConfig": TEXT,
    },
    "agentk8sglue": {
        **_POD,
        "image": {"registry": TEXT, "repository": TEXT, "tag": TEXT},
        "replicaCount": NUMBER,
        "initContainers": _CONTAINER,
        "serviceAccountAnnotations": MAPPING,
        "serviceExistingAccountName": TEXT,
        "clearmlcheckCertificate": FLAG,
        "apiServerUrlReference": TEXT,
        "fileServerUrlReference": TEXT,
        "webServerUrlReference": TEXT,
        "defaultContainerImage": TEXT,
        "queue": TEXT,
        "createQueueIfNotExists": FLAG,
        "extraEnvs": LIST,
        "additionalClusterRoleBindings": LIST,
        "additionalRoleBindings": LIST,
        "basePodTemplate": {
            **_POD,
            "initContainers": LIST,
            "schedulerName": TEXT,
            "env": LIST,
            "priorityClassName": TEXT,
            "hostAliases": LIST,
        },
    },
    "sessions": {
        "portModeEnabled": FLAG,
        "svcAnnotations": MAPPING,
        "svcType": TEXT,
        "externalIP": TEXT,
        "startingPort": NUMBER,
        "maxServices": NUMBER,
    },
}

CONFIG = "clearml.clearmlConfig"
"""Text of a `clearml.conf` for agent and task pods; `deploy` puts it into the Secret that it makes."""

PLAIN_SECRETS = ("clearml.agentk8sglueKey", "clearml.agentk8sglueSecret", "imageCredentials.password")
"""Values that would put a secret into the release, where everybody who may read it finds it."""

SECRET_IN_CONFIG = re.compile(r"\b(access_key|secret_key|git_pass|password|token)\b[\"']?\s*[:=]", re.IGNORECASE)
"""A secret in a `clearml.conf`."""


SECRET_VARIABLES = ("CLEARML_AGENT_GIT_PASS", "CLEARML_API_SECRET_KEY")
"""Environment variables that hold a secret."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with the values."""

    path: str
    message: str
    suggestion: str | None = None

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" + (f"; did you mean {self.suggestion}?" if self.suggestion else "")


def problems(
    values: Mapping[str, Any], chart_defaults: Mapping[str, Any] | None = None, chart_words: Set[str] | None = None
) -> list[Problem]:
    """Return what is wrong with the given values.

    Args:
        values: One layer, or several merged, without the chart's defaults.
        chart_defaults: The chart's own values: keys that a newer or forked chart has beside the known ones.
        chart_words: The words of the chart's templates, to find the keys that this chart does not read.
    """
    defaults = chart_defaults or {}
    paths = sorted({*_paths(SCHEMA), *_paths(defaults)})
    found = [*_check(values, SCHEMA, defaults, "", paths), *_plain_secrets(values), *_extra_envs(values)]
    return found or [*_unread(values, SCHEMA, defaults, "", chart_words or frozenset())]


def require(
    values: Mapping[str, Any],
    chart_defaults: Mapping[str, Any] | None = None,
    chart_words: Set[str] | None = None,
    source: str = "",
) -> None:
    """Refuse values with problems.

    Args:
        values: As for `problems`.
        chart_defaults: As for `problems`.
        chart_words: As for `problems`.
        source: The file that the values are from, for the message.

    Raises:
        ValuesError: It names all of them, each with the nearest right name.
    """
    _refuse(problems(values, chart_defaults, chart_words), source)


def require_served(values: Mapping[str, Any], *, is_own_image: bool) -> None:
    """Refuse values that the chart reads and that cannot work here.

    Args:
        values: All layers merged, without the chart's defaults.
        is_own_image: Whether the agent's image is the one of this project.

    Raises:
        ValuesError: It names all of them, each with what to do instead.
    """
    _refuse([*_unserved(values, is_own_image)])


def _refuse(found: list[Problem], source: str = "") -> None:
    if found:
        named = (f"{source}: {problem}" if source else str(problem) for problem in found)
        raise ValuesError(
            f"the values would be ignored or misread by the chart: {'; '.join(named)}",
            hint="the keys: helm show values CHART",
        )


def _check(
    values: Mapping[str, Any], known: Mapping[str, Any], defaults: Mapping[str, Any], prefix: str, paths: list[str]
) -> Iterator[Problem]:
    for key, value in values.items():
        path = f"{prefix}{key}"
        if key not in known and key not in defaults:
            yield Problem(path, "no such key in the chart", _nearest(path, key, paths))
            continue
        expected = known.get(key)
        below = defaults.get(key)
        if value is None or (expected is None and not isinstance(below, Mapping)):
            continue
        if isinstance(expected, str):
            # bool is an int in Python and never a number in YAML.
            right = isinstance(value, _TYPES[expected]) and (expected == FLAG) == isinstance(value, bool)
            if not right:
                yield Problem(path, f"{value!r} is not {expected}")
        elif not isinstance(value, Mapping):
            yield Problem(path, f"{value!r} is not a mapping")
        elif expected is not None or below:
            yield from _check(value, expected or {}, below if isinstance(below, Mapping) else {}, path + ".", paths)


def _unread(
    values: Mapping[str, Any], known: Mapping[str, Any], defaults: Mapping[str, Any], prefix: str, words: Set[str]
) -> Iterator[Problem]:
    """Find keys of the chart that this copy of it neither lists among its values nor names in a template."""
    for key, value in values.items():
        below = defaults.get(key)
        if words and key not in defaults and key not in words:
            yield Problem(f"{prefix}{key}", "this chart does not read it; an upstream chart 5.3.x does")
        elif isinstance(known.get(key), Mapping) and isinstance(value, Mapping):
            yield from _unread(value, known[key], below if isinstance(below, Mapping) else {}, f"{prefix}{key}.", words)


def _unserved(values: Mapping[str, Any], is_own_image: bool) -> Iterator[Problem]:
    def given(section: str) -> Mapping[str, Any]:
        return values.get(section) or {}

    for key in ("nameOverride", "fullnameOverride"):
        if values.get(key):
            yield Problem(key, "deploy finds the objects by the release's name; --release sets it")
    queue = given("agentk8sglue").get("queue", QUEUE)
    if queue is None or not queue_names(str(queue)):
        yield Problem(QUEUE, "names no queue to take tasks from")
    replicas = given("agentk8sglue").get("replicaCount")
    if replicas not in (None, 1):
        yield Problem("agentk8sglue.replicaCount", f"{replicas}: agents of one release race for its tasks; use 1")
    credentials = given("imageCredentials")
    if credentials.get("enabled") and not credentials.get("existingSecret"):
        yield Problem(
            "imageCredentials.enabled",
            "the chart would write a Secret with a password out of the values; make one with `kubectl create secret "
            "docker-registry`, and name it in imageCredentials.existingSecret",
        )
    if credentials.get("existingSecret") and not credentials.get("enabled"):
        yield Problem("imageCredentials.existingSecret", "no effect without imageCredentials.enabled: true")
    for key in ("registry", "username", "email"):
        if credentials.get(key):
            yield Problem(f"imageCredentials.{key}", "imageCredentials.existingSecret holds this too")
    if given("agentk8sglue").get("taskAsJob") and is_own_image:
        yield Problem(
            "agentk8sglue.taskAsJob",
            "this project's agent image makes pods and watches those; leave it out, or use the chart's image",
        )
    try:
        QueuePolicy.read({name: text or "" for name, text in environment(values).items()})
    except PolicyError as error:
        yield Problem("agentk8sglue.extraEnvs", str(error))
    worker = environment(values).get(WORKER)
    if worker and not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", worker):
        yield Problem("agentk8sglue.extraEnvs", f"{WORKER}={worker}: expected letters, digits and . _ - between them")
    sessions = given("sessions")
    if sessions.get("portModeEnabled") and is_own_image:
        yield Problem("sessions.portModeEnabled", "this project's agent image has no port mode; the chart's image has")
    for key in sessions if not sessions.get("portModeEnabled") else ():
        if key != "portModeEnabled":
            yield Problem(f"sessions.{key}", "no effect without sessions.portModeEnabled: true")
    text = given("clearml").get("clearmlConfig")
    if text and given("clearml").get("existingClearmlConfigSecret"):
        yield Problem(CONFIG, "clearml.existingClearmlConfigSecret holds the configuration; remove one of the two")


def _paths(tree: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, below in tree.items():
        yield f"{prefix}{key}"
        if isinstance(below, Mapping):
            yield from _paths(below, f"{prefix}{key}.")


def _nearest(path: str, key: str, paths: list[str]) -> str | None:
    """Return the right path for a wrong one: the same name elsewhere first, then the most similar one."""
    # The key above the wrong one is right, and helps nobody.
    paths = [known for known in paths if not path.lower().startswith(f"{known.lower()}.")]
    same = [known for known in paths if known.rpartition(".")[2].lower() == key.lower()]
    if same:
        return max(same, key=lambda known: difflib.SequenceMatcher(None, known, path).ratio())
    close = difflib.get_close_matches(path.lower(), [known.lower() for known in paths], n=1, cutoff=0.6)
    if close:
        return next(known for known in paths if known.lower() == close[0])
    names = {known.rpartition(".")[2].lower(): known for known in paths}
    close = difflib.get_close_matches(key.lower(), list(names), n=1, cutoff=0.75)
    return names[close[0]] if close else None


def _plain_secrets(values: Mapping[str, Any]) -> Iterator[Problem]:
    for path in PLAIN_SECRETS:
        section, _, key = path.rpartition(".")
        if (values.get(section) or {}).get(key):
            yield Problem(path, "a secret does not belong into values; deploy makes a Secret from the environment")
    if found := SECRET_IN_CONFIG.search(str((values.get("clearml") or {}).get("clearmlConfig") or "")):
        yield Problem(CONFIG, f"{found[1]}: a secret does not belong into values; name a Secret of your own")


def _extra_envs(values: Mapping[str, Any]) -> Iterator[Problem]:
    for path in ("agentk8sglue.extraEnvs", "agentk8sglue.basePodTemplate.env"):
        listed: Any = values
        for step in path.split("."):
            listed = (listed.get(step) if isinstance(listed, Mapping) else None) or {}
        names: set[str] = set()
        for index, item in enumerate(listed if isinstance(listed, list) else []):
            if not isinstance(item, Mapping) or not isinstance(item.get("name"), str):
                yield Problem(f"{path}[{index}]", f"{item!r} is not {{name: …, value: …}}")
                continue
            if item["name"] in names:
                yield Problem(f"{path}[{index}]", f"{item['name']} is listed twice; the last one silently wins")
            names.add(item["name"])
            if item["name"] in SECRET_VARIABLES and item.get("value"):
                yield Problem(
                    f"{path}[{index}]",
                    f"{item['name']} is a secret and does not belong into values; give it by valueFrom.secretKeyRef",
                )
            if "value" in item and not isinstance(item["value"], str):
                yield Problem(f"{path}[{index}].value", f"{item['value']!r} is not a text; write it in quotes")
