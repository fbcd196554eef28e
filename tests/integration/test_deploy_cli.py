"""`python -m deploy` as a person runs it, where no cluster is needed: a fake helm, a dead API server, bad settings."""

from __future__ import annotations

import contextlib
import io
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

from deploy.cli import main

ROOT = Path(__file__).parents[2]
CHART = ROOT / "tests/charts/clearml-agent"

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: dead
contexts: [{name: dead, context: {cluster: dead, user: nobody}}]
clusters: [{name: dead, cluster: {server: "http://127.0.0.1:9"}}]
users: [{name: nobody, user: {}}]
"""

HELM = """#!{python}
import json, os, sys
with open({log!r}, "a") as log:
    log.write(json.dumps({{"argv": sys.argv[1:], "stdin": "" if sys.stdin.isatty() else sys.stdin.read()}}) + "\\n")
if sys.argv[1] == "version":
    print({version!r}, end="")
elif sys.argv[1] == "template":
    print("kind: ConfigMap\\nmetadata: {{name: x}}")
else:
    sys.exit("Error: " + {stderr!r})
"""


@pytest.fixture
def helm(tmp_path):
    """A helm on PATH that records its argv and its stdin, and says what it is told to say."""

    def make(version: str = "v3.17.2", stderr: str = "release: not found") -> dict[str, str]:
        path, log = tmp_path / "bin/helm", tmp_path / "helm.log"
        path.parent.mkdir(exist_ok=True)
        path.write_text(HELM.format(python=sys.executable, log=str(log), version=version, stderr=stderr))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        (tmp_path / "kubeconfig").write_text(KUBECONFIG)
        keys = {"CLEARML_API_ACCESS_KEY": "AK", "CLEARML_API_SECRET_KEY": "canary-secret"}
        hosts = {
            f"CLEARML_{name}_HOST": f"http://10.0.0.1:{port}" for name, port in (("API", 1), ("WEB", 2), ("FILES", 3))
        }
        own = {"KUBECONFIG": str(tmp_path / "kubeconfig"), "XDG_CACHE_HOME": str(tmp_path), "AGENT_CHART": str(CHART)}
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("CLEARML_", "KUBE"))}
        return kept | keys | hosts | own | {"PATH": f"{path.parent}:{os.environ['PATH']}"}

    return make


def deploy(env: dict[str, str], *words: str) -> tuple[int, str, str]:
    argv = [sys.executable, "-m", "deploy", *words]
    done = subprocess.run(argv, env=env, cwd=ROOT, capture_output=True, text=True, timeout=90, stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def deploy_here(monkeypatch):
    """The same without a process, for the many inputs that are refused: a start takes as long as all else."""

    def run(env: dict[str, str], *words: str) -> tuple[int, str, str]:
        monkeypatch.chdir(ROOT)
        with (
            contextlib.redirect_stdout(io.StringIO()) as out,
            contextlib.redirect_stderr(io.StringIO()) as err,
            mock.patch.dict(os.environ, env, clear=True),
        ):
            code = main(words)
        return code, out.getvalue(), err.getvalue()

    return run


def test_render_hands_helm_one_mapping_and_no_secret(helm, tmp_path):
    env = helm()
    code, out, _ = deploy(env, "render", "--set", "agentk8sglue.queue=q")
    assert code == 0 and "ConfigMap" in out
    calls = [json.loads(line) for line in (tmp_path / "helm.log").read_text().splitlines()]
    template = next(call for call in calls if call["argv"][0] == "template")
    assert json.loads(template["stdin"])["agentk8sglue"]["queue"] == "q"
    names = [item["name"] for item in json.loads(template["stdin"])["agentk8sglue"]["extraEnvs"]]
    assert len(names) == len(set(names))
    assert "canary-secret" not in (tmp_path / "helm.log").read_text()


def test_a_helm_that_cannot_be_had_is_said_so(helm, tmp_path):
    (tmp_path / "nothing").mkdir()
    offline = {"PATH": str(tmp_path / "nothing"), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""}
    code, out, err = deploy(helm() | offline, "render", "--json")
    assert code == json.loads(out)["exit_code"] == 21
    assert "helm is missing" in err
    assert "package index" in err


@pytest.mark.parametrize(
    ("version", "said"),
    [("v2.17.0", "older than 3.10.0"), ("v3.9.4", "older than 3.10.0"), ("no version", "does not answer as helm does")],
)
def test_a_helm_that_is_too_old_is_refused(helm, deploy_here, version, said):
    code, _, err = deploy_here(helm(version), "render")
    assert (code, said in err) == (21, True), err


def test_a_self_built_helm_without_patch_number_is_taken(helm, deploy_here):
    assert deploy_here(helm("v3.21"), "render")[0] == 0


def test_a_dead_api_server_is_said_so_within_seconds_and_with_the_context(helm):
    code, out, err = deploy(helm(), "status", "--json")
    assert code == 32
    assert "context dead" in err and "does not answer" in err
    assert json.loads(out)["exit_code"] == 32


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["render", "--chart", "/nowhere.tgz"], 22, "does not exist"),
        (["render", "--chart", "tests/charts/nope"], 22, "there is no folder tests/charts/nope"),
        (["render", "--chart", str(ROOT / "docs")], 22, "is not a chart"),
        (["render", "--chart", str(ROOT / "README.md")], 22, "is not a chart archive"),
        (["render", "--set", "agentk8sglue.queu=x"], 11, "did you mean agentk8sglue.queue"),
        (["render", "--set", "x"], 11, "is not path=value"),
        (["render", "--values", "/nowhere.yaml"], 10, "cannot be read"),
        (["status", "--kubeconfig", "/nowhere"], 31, "kubeconfig /nowhere does not exist"),
        (["status", "--context", "other"], 31, "--context dead"),
        (["status", "--release", "Bad_Name"], 10, "--release bad-name"),
        (["serve", "--namespace", "-Größe 2-"], 10, "--namespace gr-e-2"),
        (["status", "--release", "r" * 54], 10, "at most 53 characters"),
        (["status", "--namespace", "n" * 64], 10, "at most 63 characters"),
        (["render", "--set", "agentk8sglue.queue="], 11, "agentk8sglue.queue: names no queue"),
        (["render", "--set", 'agentk8sglue.queue=" , "'], 11, "agentk8sglue.queue: names no queue"),
        (["install", "--nonsense"], 2, "No such option"),
    ],
)
def test_bad_input_has_a_message_a_code_and_no_traceback(helm, deploy_here, words, code, said):
    got, _, err = deploy_here(helm(), *words)
    assert (got, said in err) == (code, True), err
    assert "Traceback" not in err


def test_a_chart_that_cannot_be_fetched_names_the_ways_out(helm, deploy_here):
    env = helm(stderr='looks like "https://clearml.github.io" is not a valid chart repository or cannot be reached')
    env.pop("AGENT_CHART")
    code, _, err = deploy_here(env, "render")
    assert code == 22
    assert "--chart FOLDER" in err


def test_doctor_goes_on_after_what_fails_and_says_what_needs_it(helm):
    code, out, _ = deploy(helm(), "doctor", "--json")
    body = json.loads(out)
    results = {check["id"]: check["result"] for check in body["checks"]}
    assert len(results) >= 15
    assert (code, body["exit_code"], results["kubernetes"]) == (32, 32, "fail")
    assert results["helm"] == results["chart"] == results["values"] == "ok"
    assert results["release"] == results["agent-pod"] == "skip"
    assert all(check["fix"] for check in body["checks"] if check["result"] == "fail")
    assert "canary-secret" not in out
