"""A task with somebody's ordinary image, as `python:3.11`: it runs, or its record says what the image lacks.

No registry is asked, so the image is made of Debian's packages: user root and no user 1000, python, pip and git, and
neither clearml-agent nor the SDK. A folder of wheels stands for the package index, so no pod needs the internet.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clearml_access.agent_values import AgentValues
from clearml_access.caches import cache_folder
from images import build
from tests.api_client import ApiClient
from tests.e2e.cluster_cli import ClusterCli, stage, until
from tests.e2e.deployer import Deployer, run_task, status
from tests.e2e.test_reasons import ENDED, console, reasons

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1_200)]

IMAGE = "localhost/clearml-pods-stock:3.11"
WHEELS = "/srv/wheels"
DOCKERFILE = f"""
ARG BASE
FROM ${{BASE}} AS stock
ARG CA_DIGEST=none
RUN --mount=type=secret,id=ca,target=/run/company-ca.pem \\
    if [ -s /run/company-ca.pem ]; then \\
        install -D -m 0644 /run/company-ca.pem /usr/local/share/ca-certificates/company-ca.crt && \\
        update-ca-certificates; \\
    fi
RUN apt-get update --quiet --quiet && \\
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends python3-pip git && \\
    rm -rf /var/lib/apt/lists/* && \\
    # The stock image's pip installs anywhere; Debian's refuses.
    rm -f /usr/lib/python3.*/EXTERNALLY-MANAGED && \\
    ln -s /usr/bin/python3 /usr/local/bin/python
ARG INDEX_URL=https://pypi.org/simple
# What the agent in a pod installs: itself, and two packages into the task's environment.
RUN PIP_CERT=/etc/ssl/certs/ca-certificates.crt pip download --quiet --index-url "${{INDEX_URL}}" --dest {WHEELS} \\
    "clearml-agent{AgentValues.load().agent_pin}" "pip<22.3" Cython setuptools wheel
CMD ["python3"]
"""
CODE = "import getpass, os, sys\nprint('in', *sys.version_info[:2], os.getuid(), getpass.getuser(), flush=True)\n"
NO_INDEX = "-e PIP_NO_INDEX=1"


@pytest.fixture
def stock_image(cluster_with_images: ClusterCli, tmp_path: Path) -> str:
    """Build the image and give it to the node."""
    builder = build.find_builder(debian_base=True)
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    with stage("image without an agent built and loaded"):
        base = build.ensure_debian_base(builder, cache_folder(os.environ) / "images")
        index, ca = os.environ.get("PIP_INDEX_URL"), build.local_certificates()
        build.build("stock", IMAGE, builder, base=base, index=index, ca=ca, dockerfile=str(tmp_path / "Dockerfile"))
        build.save(builder, IMAGE, tmp_path / "stock.tar")
        cluster_with_images.run("load-image", tmp_path / "stock.tar")
    (tmp_path / "stock.tar").unlink()
    return IMAGE


def test_a_task_runs_in_an_ordinary_image_or_its_record_says_what_that_lacks(
    stock_image: str, installed: Deployer, api: ApiClient
) -> None:
    runs = run_task(api, CODE, container={"image": stock_image, "arguments": f"{NO_INDEX} -e PIP_FIND_LINKS={WHEELS}"})
    fails = run_task(api, CODE, container={"image": stock_image, "arguments": NO_INDEX})
    until("both have ended", lambda: {status(api, task) for task in (runs, fails)} <= set(ENDED), timeout_s=600)
    assert status(api, runs) == "completed", reasons(api, runs)
    lines = [line for text in console(api, runs) for line in text.splitlines()]
    assert "in 3 11 1000 clearml" in lines
    assert status(api, fails) == "failed"
    assert "No module named clearml_agent" in reasons(api, fails)
