"""The one reader of `helm/values-agent.yaml`: the steps' queue, the agent's version, the task image.

Pure but for reading that file. In a clone it is read where it lives; an installed wheel carries a copy
(`[tool.hatch.build.targets.wheel.force-include]`). Nothing else in the project may spell these three values.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import SettingsError

PACKAGE = Path(__file__).resolve().parent
IN_CLONE = PACKAGE.parent / "helm" / "values-agent.yaml"
IN_WHEEL = PACKAGE / "data" / "values-agent.yaml"

AGENT_POD_PIN = "CLEARML_AGENT_UPDATE_VERSION"
TASK_POD_PIN = "K8S_GLUE_POD_AGENT_INSTALL_ARGS"


@dataclass(frozen=True)
class AgentValues:
    """What pipeline, machine and images must agree on."""

    queue: str
    """Queue that steps are taken from."""

    agent_pin: str
    """Version specifier of clearml-agent, e.g. `==1.9.2`."""

    default_image: str
    """Image of a task pod whose task names none."""

    agent_image: str
    """Image of the agent pod."""

    @classmethod
    def load(cls, path: Path | None = None) -> AgentValues:
        """Read the values file.

        Raises:
            SettingsError: The file is missing, no YAML, or lacks one of the values; the message names it.
        """
        path = path or (IN_CLONE if IN_CLONE.is_file() else IN_WHEEL)
        try:
            document = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise SettingsError(f"{path} cannot be read: {error.strerror}", hint="git checkout helm") from error
        except yaml.YAMLError as error:
            raise SettingsError(f"{path} is not YAML: {error}", hint="git diff helm") from error
        return cls.from_document(document, str(path))

    @classmethod
    def from_document(cls, document: Any, source: str) -> AgentValues:
        """Take the values out of a parsed values file that came from `source`."""
        glue = document.get("agentk8sglue") if isinstance(document, dict) else None
        if not isinstance(glue, dict):
            raise SettingsError(f"{source} has no section agentk8sglue", hint="see helm/values-agent.yaml in git")
        envs = {item.get("name"): item.get("value") for item in glue.get("extraEnvs") or [] if isinstance(item, dict)}
        if envs.get(AGENT_POD_PIN) != envs.get(TASK_POD_PIN):
            raise SettingsError(
                f"{source} pins two agents: {AGENT_POD_PIN}={envs.get(AGENT_POD_PIN)!r} for the agent pod, "
                f"{TASK_POD_PIN}={envs.get(TASK_POD_PIN)!r} for task pods",
                hint="give both the same version (clearml-agent#223 hits either)",
            )
        return cls(
            queue=_text(glue.get("queue"), "agentk8sglue.queue", source),
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
    raise SettingsError(f"{source}: {name} is {value!r}, not a text", hint="see helm/values-agent.yaml in git")
