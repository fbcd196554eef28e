"""Restarts the API server, kills the agent and deletes task pods while pipelines run; compares records and causes.

`python -m tests.faults` builds the images and makes a cluster, which it removes at the end. To save that, E2E_CLUSTER
names one that is there and has the images that the values name.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, redirect_stdout
from pathlib import Path

import click
from clearml_localserver.pytest_plugin import running_server

from tests.api_client import ApiClient
from tests.e2e.cluster_cli import ClusterCli
from tests.e2e.deployer import Deployer
from tests.e2e.images import build_images, load_images
from tests.faults.under_load import Outcome, Plan, run


def _say(line: str) -> None:
    click.echo(line, err=True)


@click.command()
@click.option("--api-restarts", type=click.IntRange(0), help="Kills of the API server.  [default: 20]")
@click.option("--agent-kills", type=click.IntRange(0), help="Kills of the agent's pod.  [default: 20]")
@click.option("--pod-deletions", type=click.IntRange(0), help="Deletions of a running task's pod.  [default: 20]")
@click.option("--each", default=20, type=click.IntRange(0), help="Sets all three.", show_default=True)
@click.option("--pipelines", default=10, type=click.IntRange(1), show_default=True, help="Pipelines at once.")
@click.option("--seed", default=1, show_default=True, help="Decides the order of the faults and the pauses.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as a JSON object.")
def main(
    api_restarts: int | None,
    agent_kills: int | None,
    pod_deletions: int | None,
    each: int,
    pipelines: int,
    seed: int,
    as_json: bool,
) -> None:
    """Do faults to an agent under load, and look for tasks that are lost, run twice or end with a wrong reason."""
    wanted = [each if count is None else count for count in (api_restarts, agent_kills, pod_deletions)]
    plan = Plan(*wanted, pipelines, seed)
    # Standard output is the outcome's; the account of what is done goes beside it.
    with redirect_stdout(sys.stderr), _cluster() as cluster, tempfile.TemporaryDirectory() as folder:
        os.environ["LOCALSERVER_HOST"] = cluster.run("status")["host_address"]
        with running_server(Path(folder) / "data") as server:
            outcome = _with_agent(Deployer(cluster, server), plan)
    _print(outcome, as_json=as_json)
    sys.exit(1 if outcome.wrong else 0)


@contextmanager
def _cluster() -> Iterator[ClusterCli]:
    if given := os.environ.get("E2E_CLUSTER"):
        yield ClusterCli(given)
        return
    cluster = ClusterCli("faults")
    with tempfile.TemporaryDirectory() as folder:
        archives = build_images(Path(folder))
        cluster.up()
        try:
            load_images(cluster, archives)
            yield cluster
        finally:
            cluster.down()


def _with_agent(deploy: Deployer, plan: Plan) -> Outcome:
    deploy.run("install", "--no-canary")
    try:
        with closing(ApiClient(deploy.server.api_url, deploy.server.credentials)) as api:
            return run(deploy, api, plan, _say)
    finally:
        deploy.run("uninstall", "--yes", "--delete-namespace")


def _print(outcome: Outcome, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(outcome.as_json()))
        return
    faults = ", ".join(f"{count} {name}" for name, count in outcome.faults.items())
    ends = ", ".join(f"{count} {name}" for name, count in outcome.ends.items())
    click.echo(f"faults: {faults}; {outcome.pipelines} pipelines, {outcome.tasks} tasks: {ends}; {outcome.seconds} s")
    for reason, count in outcome.reasons.items():
        click.echo(f"failed, {count} times: {reason}")
    for task, text in outcome.wrong.items():
        click.echo(f"WRONG {task}: {text}")


if __name__ == "__main__":
    main()
