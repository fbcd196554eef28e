"""Texts for people, made of results. Pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
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


def left_out_lines(results: Sequence[Result]) -> list[str]:
    """Return checks that were not answered as one line for each reason.

    Args:
        results: Of any level; only what was left out counts.
    """
    reasons: dict[str, list[str]] = {}
    for result in results:
        if result.level == Level.SKIP:
            reasons.setdefault(result.finding.evidence, []).append(result.title)
    lines = []
    for reason, titles in reasons.items():
        many = f"{len(titles)} more are not checked: {reason} (--verbose lists them)"
        lines.append(f"{MARKS[Level.SKIP]} {many if len(titles) > 1 else f'{titles[0]}: {reason}'}")
    return lines


def outcome_lines(outcome: Mapping[str, Any]) -> list[str]:
    """Return what an install did."""
    name, namespace = outcome["release"], outcome["namespace"]
    if outcome["result"] == "removed":
        return [f"release {name} in namespace {namespace} is removed"]
    if outcome["result"] == "planned":
        planned = [f"would {change}" for change in outcome["changes"]] or ["nothing would change"]
        return [f"release {name} in namespace {namespace}:", *(f"  {line}" for line in planned)]
    seconds = ", ".join(f"{what} {value} s" for what, value in outcome["seconds"].items())
    return [
        f"release {name} in namespace {namespace} is {outcome['result']} (revision {outcome['revision']}), "
        f"serves {', '.join(outcome['queues'])}",
        f"  {seconds}",
    ]


def rollback_lines(body: Mapping[str, Any]) -> list[str]:
    """Return what a rollback did or would do."""
    if "would_go_back_to" in body:
        return [f"{body['release']}: would roll back from revision {body['from']} to {body['would_go_back_to']}"]
    return outcome_lines(body)


def no_release_line(body: Mapping[str, Any]) -> str:
    """Return what an uninstall says that finds nothing."""
    return f"there is no release {body['release']} in namespace {body['namespace']}"


def status_lines(bodies: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the status of a deployment's releases."""
    first = bodies[0]
    lines = [f"cluster: {first['context']} ({first['kubernetes']}), namespace {first['namespace']}"]
    return lines + [line for body in bodies for line in _release_lines(body)]


def _release_lines(body: Mapping[str, Any]) -> list[str]:
    revision = body["revision"]
    applied = body["applied"]
    if revision:
        known = f"revision {revision['number']} ({revision['chart']}) {revision['status']}"
    elif applied:
        known = f"applied by {applied['by']} ({applied['chart']}), helm knows no release"
    else:
        return [f"release: {body['release']} is not installed"]
    if not body["is_wanted"]:
        known += "; its queue file is gone, so the next install removes it"
    lines = [f"release: {body['release']} {known}"]
    if body["tasks"]:
        lines.append(f"tasks: {_tasks(body['tasks'])}")
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


def _tasks(tasks: Mapping[str, Any]) -> str:
    """Return what task pods are like, in a line."""
    amounts = {kind: tasks["resources"].get(kind) or {} for kind in ("requests", "limits")}
    listed = {kind: ", ".join(f"{name} {amount}" for name, amount in found.items()) for kind, found in amounts.items()}
    parts = [
        f"image {tasks['image']}",
        *(f"{kind} {text}" for kind, text in listed.items() if text),
        *(f"on nodes with {key}={value}" for key, value in tasks.get("node_selector", {}).items()),
        *([f"priority {tasks['priority_class']}"] if "priority_class" in tasks else []),
        *([f"at most {tasks['max_pods']} pods"] if tasks["max_pods"] else []),
    ]
    return "; ".join(parts)


def served_lines(outcome: Mapping[str, Any]) -> list[str]:
    """Return what `serve` did, and how to ask."""
    name, namespace = outcome["release"], outcome["namespace"]
    if outcome["result"] == "planned":
        return [f"{name} in namespace {namespace}:", *(f"  would {change}" for change in outcome["changes"])]
    path = outcome["paths"][0]
    port = outcome["port"]
    curl = f"curl -d {shlex.quote(json.dumps(outcome['request']))} http://127.0.0.1:{port}/serve/{path}"
    return [
        f"{name} in namespace {namespace} is {outcome['result']}: model {outcome['model_id']} "
        f"({', '.join(outcome['paths'])})",
        f"a pod was answered {outcome['label']}, probability {outcome['probability']:.4f}, as the model itself says",
        f"in the cluster: {outcome['address']}/{path}",
        f"from here: kubectl -n {namespace} port-forward service/{name} {port}, then {curl}",
        f"on the server: {outcome['page']}",
        f"metrics: /metrics of port {port}; remove it: ./task undeploy-serve",
    ]


def served_status_lines(body: Mapping[str, Any]) -> list[str]:
    """Return what is served in the cluster."""
    where = f"{body['release']} in namespace {body['namespace']} of {body['context']}"
    if not body["installed"]:
        return [f"{where} is not installed (./task deploy-serve)"]
    lines = [
        f"{where}: {body['ready']} of {body['replicas']} pods are ready",
        f"image: {body['image']}",
        f"address: {body['address']}",
        f"service: {body['service_id']}",
    ]
    lines += [f"problem: {body['problem']}"] if body["problem"] else []
    for pod in body["pods"]:
        words = " ".join(filter(None, (pod["state"], pod["reason"], pod["message"])))
        last = f", ended last by {pod['last_end']}" if pod["last_end"] else ""
        lines.append(f"pod: {pod['name']}: {words}, {pod['restarts']} restarts{last}")
    if body["models_problem"]:
        return [*lines, f"models: not known: {body['models_problem']}"]
    lines += ["update: to each newer model with the tag best"] if body["auto_update"] else []
    return lines + [_model_line(model) for model in body["models"]]


def _model_line(model: Mapping[str, Any]) -> str:
    """Return what a service says of one of its models."""
    facts = {
        "of run": model["run_id"],
        "trained on version": model["datasets"].get("train"),
        "served since": model["since"],
    }
    said = ", ".join([model["name"], *(f"{name} {value}" for name, value in facts.items() if value)])
    if model["is_deleted"]:
        said = (
            "deleted from the server; a pod that starts now cannot load it: "
            "serve another one, ./task deploy-serve -- --model ID"
        )
    return f"model: version {model['version']}, {model['share']:.0%} of the requests, {model['model_id']}: {said}"


def leaving_lines(body: Mapping[str, Any]) -> list[str]:
    """Return what an uninstall would remove."""
    pods = body["task_pods"]
    running = f"; task pods are removed, and tasks that still run are stopped: {', '.join(pods)}" if pods else ""
    release = f"release {body['release']} (revision {body['revision']}) in namespace {body['namespace']}{running}"
    return [release, *(f"  {name}" for name in body["objects"])]
