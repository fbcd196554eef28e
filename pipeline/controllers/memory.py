"""How much memory a step gets that ran out of it, as docker arguments of its container. Pure.

The agent's image makes limit and request of a pod of them (`images/agent/pod_arguments.py`); a docker agent hands them
to docker.
"""

from __future__ import annotations

import shlex

from clearml_access.quantities import as_memory, parse_quantity

FACTOR = 2
_MIB = 1024**2
_REPLACED = ("-m", "--memory", "--memory-swap", "--memory-reservation")


def more(limit: str, *caps: str) -> str:
    """Return the next limit for a step that ran out of memory, in whole MiB; nothing where it may have no more.

    Args:
        limit: What it had, as a quantity of Kubernetes.
        *caps: The most that it may have; an empty one says nothing.
    """
    had = int(parse_quantity(limit))
    wanted = min([had * FACTOR, *(int(parse_quantity(cap)) for cap in caps if cap)]) // _MIB * _MIB
    return as_memory(wanted) if wanted > had else ""


def with_memory(arguments: str, limit: str, request: str) -> str:
    """Return docker arguments with another memory limit and request in place of theirs.

    Args:
        arguments: The container's, as a command line.
        limit: As a quantity of Kubernetes.
        request: What the step is known to need: a node with less room is not asked.
    """
    words, kept = shlex.split(arguments), []
    while words:
        word = words.pop(0)
        if word in _REPLACED:
            words = words[1:]
        elif word.partition("=")[0] not in _REPLACED and (word[:2] != "-m"):
            kept.append(word)
    return shlex.join([*kept, f"--memory={_docker_size(limit)}", f"--memory-reservation={_docker_size(request)}"])


def _docker_size(quantity: str) -> str:
    return f"{int(parse_quantity(quantity)) // _MIB}m"
