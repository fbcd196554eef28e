"""The facts in `helm/values-agent.yaml`: the queues of steps, the agent's version, the images.

Pure but for reading that file. In a clone it is read where it lives; an installed wheel carries a copy
(`[tool.hatch.build.targets.wheel.force-include]`). Nothing else in the project spells these values. `deploy` merges
the same file with a user's values, and reads the result with the functions here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from clearml_access.errors import ConfigurationError, parse_error

PACKAGE = Path(__file__).resolve().parent
IN_CLONE = PACKAGE.parent / "helm" / "values-agent.yaml"
IN_WHEEL = PACKAGE / "data" / "values-agent.yaml"

AGENT_POD_PIN = "CLEARML_AGENT_UPDATE_VERSION"
TASK_POD_PIN = "K8S_GLUE_POD_AGENT_INSTALL_ARGS"

QUEUE = "agentk8sglue.queue"


def values_file() -> Path:
    """Return the project's values file: in a clone where it lives, in a wheel the copy it carries."""
    return IN_CLONE if IN_CLONE.is_file() else IN_WHEEL


def queue_names(text: str) -> tuple[str, ...]:
    """Return the queues that a value of `agentk8sglue.queue` names, the most urgent first.

    The chart hands the text to the glue's `--queue`, which splits it at commas and keeps blanks: `"pods, gpu"` would be
    a queue called `" gpu"`. So the blanks are dropped here, and `deploy` hands the chart `"pods,gpu"`.
    """
    return tuple(name.strip() for name in text.split(",") if name.strip())


def python_of(image: str) -> str | None:
    """Return the Python that an image's tag promises (`task:0.1.0-py3.11`); None where it does not say."""
    found = re.search(r":[^/]*-py(\d+\.\d+)$", image)
    return found[1] if found else None


@dataclass(frozen=True)
class AgentValues:
    """What pipeline, local stack, images and cluster must agree on."""

    queues: tuple[str, ...]
    """Queues that steps are taken from, the most urgent first."""

    agent_pin: str
    """Version specifier of clearml-agent, e.g. `==1.9.2`."""

    default_image: str
    """Image of a task pod whose task names none."""

    agent_image: str
    """Image of the agent pod."""

    @property
    def queue(self) -> str:
        """The one queue that steps go to unless a command names another.

        Raises:
            ConfigurationError: The file names several queues.
        """
        if len(self.queues) > 1:
            raise ConfigurationError(
                f"{QUEUE} is {', '.join(self.queues)!r}: steps go to one queue, and this names {len(self.queues)}",
                hint=f"name one: --queue {self.queues[0]}",
            )
        return self.queues[0]

    @classmethod
    def load(cls, path: Path | None = None) -> AgentValues:
        """Read the values file.

        Raises:
            ConfigurationError: The file is missing, is not YAML, or lacks one of the values; the message names it.
        """
        path = path or values_file()
        try:
            document = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be read: {error.strerror}", hint="git checkout helm") from error
        except yaml.YAMLError as error:
            raise ConfigurationError(f"{path} is not YAML: {parse_error(error)}", hint="git diff helm") from None
        return cls.from_document(document, str(path))

    @classmethod
    def from_document(cls, document: Any, source: str) -> AgentValues:
        """Take the values out of a parsed values file that came from `source`."""
        glue = document.get("agentk8sglue") if isinstance(document, dict) else None
        if not isinstance(glue, dict):
            raise ConfigurationError(f"{source} has no section agentk8sglue", hint="see helm/values-agent.yaml in git")
        envs = {item.get("name"): item.get("value") for item in glue.get("extraEnvs") or [] if isinstance(item, dict)}
        if envs.get(AGENT_POD_PIN) != envs.get(TASK_POD_PIN):
            raise ConfigurationError(
                f"{source} pins two agents: {AGENT_POD_PIN}={envs.get(AGENT_POD_PIN)!r} for the agent pod, "
                f"{TASK_POD_PIN}={envs.get(TASK_POD_PIN)!r} for task pods",
                hint="give both the same version (clearml-agent#223 hits either)",
            )
        queues = queue_names(_text(glue.get("queue"), QUEUE, source))
        if not queues:
            raise ConfigurationError(f"{source}: {QUEUE} is {glue['queue']!r} and names no queue", hint="queue: pods")
        return cls(
            queues=queues,
            agent_pin=_text(envs.get(AGENT_POD_PIN), f"agentk8sglue.extraEnvs {AGENT_POD_PIN}", source),
            default_image=_text(glue.get("defaultContainerImage"), "agentk8sglue.defaultContainerImage", source),
            agent_image=_image(glue.get("image"), source),
        )


def _image(parts: object, source: str) -> str:
    found = parts if isinstance(parts, dict) else {}
    where = "agentk8sglue.image"
    names = {key: _text(found.get(key), f"{where}.{key}", source) for key in ("registry", "repository", "tag")}
    return f"{names['registry']}/{names['repository']}:{names['tag']}"


def _text(value: object, name: str, source: str) -> str:
    if isinstance(value, str) and value.strip():
        return value.strip()
    raise ConfigurationError(f"{source}: {name} is {value!r}, not a text", hint="see helm/values-agent.yaml in git")
