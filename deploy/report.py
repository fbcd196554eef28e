"""Texts for people, made of results. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deploy.checks.check import Level, Result

MARKS = {Level.OK: "✓", Level.WARN: "!", Level.FAIL: "✗", Level.SKIP: "-"}


def check_line(result: Result) -> str:
    """Return a check's result as one line, with the fix below it if it needs one."""
    finding = result.finding
    lines = [f"{MARKS[result.level]} {result.title}: {finding.evidence}", *(f"    {line}" for line in finding.details)]
    if finding.fix and result.level in (Level.WARN, Level.FAIL):
        lines.append(f"    fix: {finding.fix}")
    return "\n".join(lines)


def outcome_lines(outcome: Mapping[str, Any]) -> list[str]:
    """Return what an install did."""
    name, namespace = outcome["release"], outcome["namespace"]
    if outcome["result"] == "planned":
        planned = [f"would {change}" for change in outcome["changes"]] or ["nothing would change"]
        return [f"release {name} in namespace {namespace}:", *(f"  {line}" for line in planned)]
    seconds = ", ".join(f"{what} {value} s" for what, value in outcome["seconds"].items())
    return [
        f"release {name} in namespace {namespace} is {outcome['result']} (revision {outcome['revision']}), "
        f"serves {', '.join(outcome['queues'])}",
        f"  {seconds}",
    ]


def status_lines(body: Mapping[str, Any]) -> list[str]:
    """Return a release's status."""
    revision = body["revision"]
    lines = [f"cluster: {body['context']} ({body['kubernetes']}), namespace {body['namespace']}"]
    applied = body["applied"]
    if revision:
        known = f"revision {revision['number']} ({revision['chart']}) {revision['status']}"
    elif applied:
        known = f"applied by {applied['by']} ({applied['chart']}), helm knows no release"
    else:
        return [*lines, f"release: {body['release']} is not installed"]
    lines.append(f"release: {body['release']} {known}")
    for kind in ("agent_pods", "task_pods"):
        for pod in body[kind]:
            words = " ".join(filter(None, (pod["state"], pod["reason"], pod["message"])))
            lines.append(f"{kind.removesuffix('s').replace('_', ' ')}: {pod['name']} on {pod['node']}: {words}")
    worker = body["worker"]
    if worker:
        serves = ", ".join(worker["serves"]) or "nothing"
        lines.append(f"worker: {worker['id']} serves {serves}, heard {worker['silent_s']} s ago")
    elif body["server"]:
        lines.append(f"worker: none is registered at {body['server']}")
    for name, count in body["queues"].items():
        lines.append(f"queue: {name}, " + ("does not exist" if count is None else f"{count} waiting"))
    return lines + [f"unknown: {text}" for text in body["unknown"]]


def leaving_lines(body: Mapping[str, Any]) -> list[str]:
    """Return what an uninstall would remove."""
    pods = body["task_pods"]
    running = f"; {len(pods)} tasks run and will be stopped: {', '.join(pods)}" if pods else ""
    release = f"release {body['release']} (revision {body['revision']}) in namespace {body['namespace']}{running}"
    return [release, *(f"  {name}" for name in body["objects"])]
