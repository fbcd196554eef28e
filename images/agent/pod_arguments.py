"""A task's container settings as fields of its pod: docker arguments, setup script, home folder. Pure."""

from __future__ import annotations

import base64
import re
import unicodedata
from dataclasses import dataclass, field
from typing import Any

from clearml_access.quantities import parse_quantity

Json = dict[str, Any]

HOST_ACCESS = "CLEARML_PODS_ALLOW_HOST_ACCESS"
"""Set in the agent's environment, it lets tasks ask for parts of the node: its folders (-v), its IPC namespace."""

GIT = ("CLEARML_AGENT_GIT_USER", "CLEARML_AGENT_GIT_PASS", "TRAINS_AGENT_GIT_USER", "TRAINS_AGENT_GIT_PASS")
"""Git's credentials, as the agent in a task's pod reads them."""

TAKE_A_VALUE = frozenset(
    [
        *("-e", "--env", "--env-file", "--shm-size", "--ipc", "-v", "--volume", "--mount", "--volumes-from", "--tmpfs"),
        *("--network", "--net", "--name", "-h", "--hostname", "-p", "--publish", "--expose", "--add-host", "--dns"),
        *("-m", "--memory", "--memory-swap", "--memory-reservation", "--cpus", "--cpuset-cpus", "--gpus", "--device"),
        *("-u", "--user", "--group-add", "--userns", "-w", "--workdir", "--entrypoint", "--label", "-l", "--platform"),
        *("--ulimit", "--sysctl", "--pids-limit", "--oom-score-adj", "--cap-add", "--cap-drop", "--security-opt"),
        *("--runtime", "--restart", "--pid", "--pull", "--log-driver", "--log-opt", "--stop-signal", "--stop-timeout"),
    ]
)
SHORT = {"-e": "--env", "-v": "--volume", "-m": "--memory"}
RESOURCES = {
    "--memory": ("limits", "memory"),
    "--memory-reservation": ("requests", "memory"),
    "--cpus": ("limits", "cpu"),
}
"""Docker argument → what it is of a container's resources."""

# An image whose user has no home of its own gets `/`, where nobody but root can write: the script would end there.
# Without a name for the user, getpass and what uses it fail.
PREAMBLE = (
    '[ -d "$HOME" ] && [ -w "$HOME" ] || { export HOME="$(mktemp -d)" && '
    'echo "HOME is not writable for user $(id -u) of this image: $HOME is used" ; } ; '
    'id -un >/dev/null 2>&1 || export USER="${USER:-clearml}" LOGNAME="${LOGNAME:-clearml}"'
)


class ArgumentError(Exception):
    """The docker arguments cannot be read; the text says why."""


@dataclass
class PodArguments:
    """What docker arguments ask for, as fields of a pod."""

    env: list[tuple[str, str]] = field(default_factory=list)
    mounts: list[Json] = field(default_factory=list)
    volumes: list[Json] = field(default_factory=list)
    host_ipc: bool = False
    resources: dict[tuple[str, str], str] = field(default_factory=dict)
    """`limits` or `requests`, and what of → how much."""

    dropped: list[str] = field(default_factory=list)
    """Arguments with no counterpart here, each with the reason."""

    @property
    def memory(self) -> str:
        """The memory limit that they ask for."""
        return self.resources.get(RESOURCES["--memory"], "")

    def apply_to(self, pod: Json) -> None:
        """Add the fields to a pod; a mount of the template at the same path makes way."""
        spec = pod["spec"]
        container = spec["containers"][0]
        paths = {mount["mountPath"] for mount in self.mounts}
        kept = [mount for mount in container.get("volumeMounts") or [] if mount.get("mountPath") not in paths]
        if self.mounts:
            container["volumeMounts"] = [*kept, *self.mounts]
        if self.volumes:
            spec["volumes"] = [*(spec.get("volumes") or []), *self.volumes]
        if self.host_ipc:
            spec["hostIPC"] = True
        if self.resources:
            container["resources"] = self._resources_over(container.get("resources") or {})

    def _resources_over(self, template: Json) -> Json:
        """Return the template's resources with what the arguments ask for in their place.

        A pod may not request more than its limit: where only one of them is given, the template's other one follows.
        """
        found: Json = {kind: dict(template.get(kind) or {}) for kind in ("limits", "requests")}
        for (kind, of), amount in self.resources.items():
            found[kind][of] = amount
        for kind, of in self.resources:
            limit, request = found["limits"].get(of), found["requests"].get(of)
            if limit and request and parse_quantity(str(request)) > parse_quantity(str(limit)):
                follows = "requests" if kind == "limits" else "limits"
                if (follows, of) not in self.resources:
                    found[follows][of] = self.resources[kind, of]
        return {**template, **{kind: amounts for kind, amounts in found.items() if amounts}}


def parse(
    arguments: list[str],
    template_volumes: frozenset[str],
    *,
    host_access: bool,
    template_env: frozenset[str] = frozenset(),
) -> PodArguments:
    """Read docker arguments.

    Args:
        arguments: Words of a docker command line.
        template_volumes: Names of the pod template's volumes: `-v NAME:/path` mounts one.
        host_access: Tasks may ask for parts of the node.
        template_env: Names of the pod template's variables. Git's credentials among them do not give way to an empty
            value, which controllers without credentials of their own hand on to their steps (helm-charts#263).

    Raises:
        ArgumentError: An argument lacks its value.
    """
    found = PodArguments()
    for name, value in _pairs(arguments):
        if name == "--env" and value and "=" in value:
            key, _, text = value.partition("=")
            if not text and key in GIT and key in template_env:
                found.dropped.append(f"{name} {value} (empty; the pod template has {key})")
            else:
                found.env.append((key, text))
        elif name == "--env":
            found.dropped.append(f"{name} {value} (no value; a pod has no caller's environment to take it from)")
        elif name == "--shm-size" and value:
            _add_shared_memory(found, value)
        elif name == "--volume" and value:
            _add_volume(found, value, template_volumes, host_access)
        elif name == "--ipc" and value:
            _add_ipc(found, value, host_access)
        elif name in RESOURCES and value:
            found.resources[RESOURCES[name]] = _cpus(value) if name == "--cpus" else _size(name, value)
        else:
            found.dropped.append(f"{name} {value}" if value is not None else name)
    return found


def _pairs(arguments: list[str]) -> list[tuple[str, str | None]]:
    found: list[tuple[str, str | None]] = []
    words = [word.strip() for word in arguments if word.strip()]
    while words:
        word = words.pop(0)
        if word.startswith("--") and "=" in word:
            name, _, value = word.partition("=")
            found.append((name, value))
        elif word[:2] in SHORT and len(word) > 2 and not word.startswith("--"):  # -eKEY=value
            found.append((SHORT[word[:2]], word[2:]))
        elif word in TAKE_A_VALUE:
            if not words:
                raise ArgumentError(f"{word} lacks its value")
            found.append((SHORT.get(word, word), words.pop(0)))
        else:
            found.append((word, None))
    return found


def _size(name: str, text: str) -> str:
    """Return docker's size as Kubernetes writes it."""
    digits, unit = text.rstrip("bBkKmMgG"), text[len(text.rstrip("bBkKmMgG")) :].lower()
    units = {"": "", "b": "", "k": "Ki", "kb": "Ki", "m": "Mi", "mb": "Mi", "g": "Gi", "gb": "Gi"}
    if not digits.replace(".", "", 1).isdigit() or unit not in units:
        raise ArgumentError(f"{name} {text} is not a size such as 512m or 8g")
    return digits + units[unit]


def _cpus(text: str) -> str:
    if not text.replace(".", "", 1).isdigit():
        raise ArgumentError(f"--cpus {text} is not a number such as 2 or 1.5")
    return text


def _add_shared_memory(found: PodArguments, size: str) -> None:
    shared = {"medium": "Memory", "sizeLimit": _size("--shm-size", size)}
    found.volumes.append({"name": "shm", "emptyDir": shared})
    found.mounts.append({"name": "shm", "mountPath": "/dev/shm"})  # noqa: S108


def _add_volume(found: PodArguments, value: str, template_volumes: frozenset[str], host_access: bool) -> None:
    source, _, rest = value.partition(":")
    path, _, mode = rest.partition(":")
    if not path.startswith("/"):
        found.dropped.append(f"--volume {value} (no path in the container)")
        return
    mount: Json = {"mountPath": path, **({"readOnly": True} if "ro" in mode.split(",") else {})}
    if source in template_volumes:
        found.mounts.append({"name": source, **mount})
    elif not source.startswith("/"):
        found.dropped.append(f"--volume {value} (the pod template has no volume of that name)")
    elif not host_access:
        found.dropped.append(f"--volume {value} (a folder of the node: {HOST_ACCESS} is not set for the agent)")
    else:
        name = f"host-{len(found.volumes)}"
        found.volumes.append({"name": name, "hostPath": {"path": source}})
        found.mounts.append({"name": name, **mount})


def _add_ipc(found: PodArguments, value: str, host_access: bool) -> None:
    if value in ("private", "shareable"):
        return  # as every pod has it
    if value != "host":
        found.dropped.append(f"--ipc {value}")
    elif not host_access:
        found.dropped.append(f"--ipc host (the node's: {HOST_ACCESS} is not set for the agent; --shm-size works)")
    else:
        found.host_ipc = True


def ascii_script(script: str | None) -> str | None:
    """Return a setup script with the same effect in ASCII, which is all that the agent's encoding takes."""
    if not script or script.isascii():
        return script
    return f"source <(echo '{base64.b64encode(script.encode()).decode()}' | base64 --decode)"


def label_value(text: str) -> str:
    """Return the value of a label for a name that may be anything: what Kubernetes takes, or nothing.

    For a name that the stock agent can label it is the stock agent's value.
    """
    plain = unicodedata.normalize("NFKD", text.lower()).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:63].rstrip("-")


def guarded(container: Json) -> None:
    """Make a task's container end truthfully: a script that could not run the task is a failure, with its last lines.

    The agent's command ends in `exit 0` whatever happened. The script's own exit code is 0 once the agent in the pod
    has run the task, however the task ended.
    """
    container["terminationMessagePolicy"] = "FallbackToLogsOnError"
    words = container.get("args") or []
    if container.get("command") == ["/bin/bash"] and len(words) == 2 and words[0] == "-c":
        container["args"] = ["-c", f"{PREAMBLE} ; {words[1].removesuffix(' ; exit 0')}"]
