"""The fake helm's rendering is that of the chart as it is now."""

from __future__ import annotations

import yaml

from tests.fakes.helm import fake_chart


def test_the_recorded_rendering_is_of_the_present_chart():
    assert fake_chart.chart_digest() == fake_chart.CHART_DIGEST, (
        f"the chart has changed: record {fake_chart.RECORDED.name} again with helm template, then change CHART_DIGEST"
    )


def test_the_charts_defaults_give_what_helm_made_of_them():
    values = yaml.safe_load((fake_chart.CHART / "values.yaml").read_text())
    values["clearml"]["existingAgentk8sglueSecret"] = "keys"
    recorded = [item for item in yaml.safe_load_all(fake_chart.RECORDED.read_text()) if item]
    made = fake_chart.rendered("clearml-agent", "clearml", values)
    assert list(map(fake_chart.comparable, made)) == list(map(fake_chart.comparable, recorded))
