"""A run hands its model to `deploy serve`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from pipeline.commands import run_full
from pipeline.serving import cluster
from pipeline.serving.errors import ServingError

ANSWERS = """
import json, sys
if "--dry-run" in sys.argv:
    print(json.dumps({"result": "planned"}))
elif "2" * 32 in sys.argv:
    print(json.dumps({"error": "no room", "hint": "make room", "exit_code": 34}))
    sys.exit(34)
elif "3" * 32 in sys.argv:
    sys.exit("killed")
else:
    print("progress")
    print(json.dumps({
        "model_id": sys.argv[sys.argv.index("--model") + 1], "version": "4", "paths": ["reviews/4", "reviews"],
        "address": "http://serving:8080/serve", "label": "positive", "probability": 0.75, "namespace": "clearml",
        "release": "clearml-serving", "port": 8080,
    }))
"""


@pytest.fixture(autouse=True)
def deploy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deploy.py").write_text(ANSWERS)
    monkeypatch.setattr(cluster, "COMMAND", (sys.executable, str(tmp_path / "deploy.py")))


def test_the_model_of_a_run_is_served_in_the_cluster() -> None:
    class Model:
        id = "1" * 32

    said: list[str] = []
    cluster.check(os.environ)
    document = run_full._serve_in_cluster([Model()], said.append)  # type: ignore[list-item]
    assert document["serving"]["model_id"] == Model.id
    assert said[0] == f"Model {Model.id} is version 4 in the cluster: http://serving:8080/serve/reviews/4"
    assert "kubectl -n clearml port-forward service/clearml-serving 8080" in said[-1]


@pytest.mark.parametrize(("model", "code", "said"), [("2", 34, "no room"), ("3", 1, "ended with exit code 1")])
def test_what_deploy_says_is_handed_on(model: str, code: int, said: str) -> None:
    with pytest.raises(ServingError) as caught:
        cluster.serve(os.environ, model * 32)
    assert said in caught.value.message
    assert (caught.value.exit_code, caught.value.hint) == (code, "make room" if code == 34 else "./task deploy-serve")
