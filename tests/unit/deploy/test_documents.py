"""Objects as YAML: texts of several lines stay lines, and differences show where they are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from deploy.helm import documents

GUIDE = (Path(__file__).parents[3] / "docs/gitops.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
TEMPLATE = "spec:\n  priorityClassName: {}\n  schedulerName: default\n"


def config_map(text: str) -> dict[str, object]:
    return {"kind": "ConfigMap", "metadata": {"name": "pt"}, "data": {"template.yaml": text}}


def test_documents_are_read_back_as_they_were():
    item = config_map(TEMPLATE.format("low") + "  trailing: \n\n")
    assert list(yaml.safe_load_all(documents.text([item, [1]]))) == [item, [1]]


def test_what_occurs_twice_is_written_twice():
    shared = {"a": [1]}
    assert "&" not in documents.text([{"one": shared, "two": shared}])


@pytest.mark.parametrize("blank", ["", " "])
def test_a_difference_inside_a_text_is_one_line_each(blank):
    before, wanted = (config_map(TEMPLATE.format(name) + f"  labels:{blank}\n") for name in ("low", "high"))
    lines = documents.difference([before], [wanted]).splitlines()
    changed = [line.split() for line in lines if re.match(r"[+-][^+-]", line)]
    assert changed == [["-", "priorityClassName:", "low"], ["+", "priorityClassName:", "high"]]


def test_equal_objects_have_no_difference_and_new_ones_are_all_difference():
    assert documents.difference([config_map("a")], [config_map("a")]) == ""
    assert "+kind: ConfigMap" in documents.difference([], [config_map("a")])


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_an_example_of_the_guide_is_an_object(block):
    item = yaml.safe_load(block)
    assert item["apiVersion"] and item["kind"]


def test_the_guide_has_an_example_for_argo_cd_and_for_flux():
    kinds = {yaml.safe_load(block)["apiVersion"].partition("/")[0] for block in BLOCKS}
    assert kinds >= {"argoproj.io", "kustomize.toolkit.fluxcd.io", "helm.toolkit.fluxcd.io", "kustomize.config.k8s.io"}
