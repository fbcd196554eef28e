"""What the command line of the test cluster prints."""

from __future__ import annotations

import pytest

from cluster import clusters
from cluster.__main__ import main
from cluster.status import Status


@pytest.mark.parametrize(
    ("words", "command"), [([], "./task cluster-up"), (["--name", "second"], "./task cluster-up -- --name second")]
)
def test_the_status_of_a_cluster_that_is_absent_names_the_command_that_makes_it(monkeypatch, capsys, words, command):
    monkeypatch.setattr(clusters, "status", lambda layout: Status(layout.name, "native", "absent"))
    assert main(["status", *words]) == 3
    assert capsys.readouterr().out.splitlines()[-1] == f"start it: {command}"


@pytest.mark.parametrize(("command", "hint"), [("up", "completes the cluster"), ("down", "removes what is left")])
def test_what_to_do_after_an_interrupt_is_said(monkeypatch, capsys, command, hint):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(clusters, command, interrupted)
    assert main([command]) == 130
    assert hint in capsys.readouterr().err


def test_programs_are_built_where_no_cluster_could_live(monkeypatch, capsys, tmp_path):
    """A home whose path is too long for a cluster's sockets still has a cache."""
    home = tmp_path / ("long" * 20)
    monkeypatch.setenv("HOME", str(home))
    for variable in ("CLEARML_PODS_CLUSTER_STATE", "CLEARML_PODS_CLUSTER_CACHE", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(clusters, "build", lambda cache, say: cache)
    assert main(["build"]) == 0
    assert capsys.readouterr().out.startswith(str(home))
