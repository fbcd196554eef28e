"""Plots and debug images: the last ones, by iteration, and stepping through them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api_client import ApiClient
from tests.integration.events.reporter import UNKNOWN, Reporter

pytestmark = pytest.mark.integration


@pytest.fixture
def plots(task: Reporter) -> Reporter:
    for iteration in range(4):
        task.plot("A", "a", iteration, f'{{"data":[],"layout":{{"title":"A/a/{iteration}"}}}}')
    for iteration in range(3):
        task.plot("A", "b", iteration)
    task.plot("B", "x", 1)
    task.plot("A", "a", 4, "not JSON")
    task.plot("A", "a", 4, "{}")
    return task


def stops(events: list[dict[str, Any]]) -> list[str]:
    return [f"{event['metric']}{event['variant']}{event['iter']}" for event in events]


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({}, ["Aa4", "Ab2", "Bx1"]),
        ({"iters": 2}, ["Aa4", "Aa3", "Ab2", "Ab1", "Bx1"]),
        ({"metrics": [{"metric": "A", "variants": ["a"]}], "iters": 3}, ["Aa4", "Aa3", "Aa2"]),
        ({"metrics": [{"metric": "Z"}]}, []),
    ],
)
def test_the_last_plots_of_each_variant(plots: Reporter, request_: dict[str, Any], expected: list[str]) -> None:
    reply = plots("get_task_plots", **request_)
    assert stops(reply["plots"]) == expected
    assert (reply["returned"], reply["total"], reply["scroll_id"]) == (len(expected), len(expected), None)


def test_a_plot_as_it_is_read(task: Reporter) -> None:
    text = '{"layout": {"images": [{"source": "http://h/é.png"}]}}'
    task.plot("A", "a", 0, text)
    (plot,) = task("get_task_plots")["plots"]
    assert (plot["plot_str"], plot["plot_len"], plot["source_urls"]) == (text, len(text), ["http://h/é.png"])


def test_plots_of_several_tasks(plots: Reporter, api: ApiClient) -> None:
    reply = api("events.get_multi_task_plots", tasks=[plots.id], iters=2)
    assert (reply["returned"], reply["total"]) == (2, 5)
    at = reply["plots"]["A"]["a"][plots.id]
    assert list(at) == ["4", "3"]
    assert (at["4"]["name"], stops(at["4"]["plots"])) == ("reported", ["Aa4"])
    again = api("events.get_multi_task_plots", tasks=[plots.id], scroll_id=reply["scroll_id"])
    assert (again["returned"], again["plots"]) == (0, {})
    bad = {"metrics": [{"metric": "A"}]}
    assert api.send("events.get_multi_task_plots", tasks=[plots.id], metrics=bad).error[:2] == (400, 12)


def iterations(reply: dict[str, Any]) -> list[tuple[int, list[str]]]:
    (metric,) = reply["metrics"]
    return [(at["iter"], stops(at["events"])) for at in metric["iterations"]]


def test_plots_by_iteration_both_ways(plots: Reporter, api: ApiClient) -> None:
    request = {"metrics": [{"task": plots.id, "metric": "A"}]}
    last = api("events.plots", **request, iters=2)
    assert iterations(last) == [(4, ["Aa4"]), (3, ["Aa3"])]
    before = api("events.plots", **request, scroll_id=last["scroll_id"])
    assert iterations(before) == [(2, ["Aa2", "Ab2"])]
    later = api("events.plots", **request, scroll_id=before["scroll_id"], navigate_earlier=False, iters=5)
    assert iterations(later) == [(4, ["Aa4"]), (3, ["Aa3"])]
    end = api("events.plots", **request, scroll_id=later["scroll_id"], navigate_earlier=False)
    assert iterations(end) == []
    plots.plot("A", "a", 5)
    assert iterations(api("events.plots", **request, scroll_id=end["scroll_id"], navigate_earlier=False))[0][0] == 5
    assert iterations(api("events.plots", **request, scroll_id=before["scroll_id"], refresh=True))[0][0] == 5
    assert iterations(api("events.plots", **request, scroll_id="garbage"))[0][0] == 5
    assert api.send("events.plots", metrics=[]).error[:2] == (400, 12)
    assert api.send("events.plots").error[:2] == (400, 12)
    assert api.send("events.plots", metrics=[{"task": UNKNOWN}]).error[:2] == (400, 101)


@pytest.fixture
def images(task: Reporter) -> Reporter:
    """The address of a0 is used again at iteration 5, as the SDK does after a few images."""
    for iteration in range(4):
        for variant in "ab":
            task.image("im", variant, iteration, f"http://h/{variant}{iteration}.png")
    task.image("im", "a", 5, "http://h/a0.png")
    task.image("other", "c", 2, "http://h/c2.png")
    return task


def test_debug_images_by_iteration(images: Reporter, api: ApiClient) -> None:
    first = api("events.debug_images", metrics=[{"task": images.id, "metric": "im"}])
    assert iterations(first) == [(5, ["ima5"])]
    before = api("events.debug_images", metrics=[{"task": images.id, "metric": "im"}], scroll_id=first["scroll_id"])
    assert iterations(before) == [(3, ["ima3", "imb3"])]
    flat = images("debug_images", "v2.6", iters=2)
    assert stops(flat["images"]) == ["ima5", "ima3", "imb3", "imb2", "otherc2"]
    assert (flat["task"], flat["returned"], flat["total"]) == (images.id, 5, 5)


def test_an_image_is_known_by_its_key(task: Reporter) -> None:
    task.image("im", "a", 0, "http://old/x.png")
    task.image("im", "a", 0, "http://new/x.png")
    task.image("im", "a", 0, "http://new/y.png")
    events = task("get_task_events", event_type="training_debug_image")["events"]
    assert [event["url"] for event in events] == ["http://new/x.png", "http://new/y.png"]


@pytest.mark.parametrize(
    ("iteration", "stop"), [(2, "ima2"), (4, "ima3"), (None, "ima5"), (99, "ima5"), (0, None), (2**60, "ima5")]
)
def test_an_image_sample_is_the_nearest_before(images: Reporter, iteration: int | None, stop: str | None) -> None:
    request = {"metric": "im", "variant": "a", **({"iteration": iteration} if iteration is not None else {})}
    reply = images("get_debug_image_sample", **request)
    assert (stops([reply["event"]])[0] if reply["event"] else None) == stop
    if stop:  # iteration 0 shows another picture by now
        assert (reply["min_iteration"], reply["max_iteration"]) == (1, 5)


def steps(task: Reporter, kind: str, first: dict[str, Any], **how: Any) -> list[str]:
    seen, scroll = [], first["scroll_id"]
    while len(seen) < 50:
        reply = task(f"next_{kind}_sample", scroll_id=scroll, **how)
        found = reply["events"] if kind == "plot" else [event for event in [reply["event"]] if event]
        if not found:
            break
        seen.append("+".join(stops(found)))
        scroll = reply["scroll_id"]
    return seen


@pytest.mark.parametrize(
    ("start", "how", "expected"),
    [
        ({"variant": "b"}, {"navigate_earlier": True}, ["ima3", "imb2", "ima2", "imb1", "ima1", "imb0"]),
        ({"variant": "b"}, {"navigate_earlier": True, "next_iteration": True}, ["imb2", "imb1", "imb0"]),
        ({"variant": "a", "iteration": 2}, {"navigate_earlier": False}, ["imb2", "ima3", "imb3", "ima5"]),
        ({"variant": "a", "iteration": 2}, {"navigate_earlier": False, "next_iteration": True}, ["ima3", "ima5"]),
        (
            {"variant": "a", "iteration": 2, "navigate_current_metric": False},
            {"navigate_earlier": False},
            ["imb2", "otherc2", "ima3", "imb3", "ima5"],
        ),
    ],
)
def test_stepping_through_images(
    images: Reporter, start: dict[str, Any], how: dict[str, Any], expected: list[str]
) -> None:
    first = images("get_debug_image_sample", metric="im", **start)
    assert steps(images, "debug_image", first, **how) == expected


@pytest.mark.parametrize(
    ("start", "how", "expected"),
    [
        ({"iteration": 3}, {"navigate_earlier": True}, ["Aa2+Ab2", "Aa1+Ab1", "Aa0+Ab0"]),
        ({"iteration": 2}, {"navigate_earlier": False}, ["Aa3", "Aa4"]),
        ({"iteration": 2, "navigate_current_metric": False}, {"navigate_earlier": True}, ["Bx1", "Aa1+Ab1", "Aa0+Ab0"]),
        (
            {"iteration": 2, "navigate_current_metric": False},
            {"navigate_earlier": True, "next_iteration": True},
            ["Bx1", "Aa0+Ab0"],
        ),
    ],
)
def test_stepping_through_plots(
    plots: Reporter, start: dict[str, Any], how: dict[str, Any], expected: list[str]
) -> None:
    first = plots("get_plot_sample", metric="A", **start)
    assert (first["min_iteration"], first["max_iteration"]) == (0, 4)
    assert steps(plots, "plot", first, **how) == expected


def test_samples_of_what_was_never_reported(plots: Reporter) -> None:
    nothing = plots("get_plot_sample", metric="Z")
    assert (nothing["events"], nothing["min_iteration"], nothing["max_iteration"]) == ([], None, None)
    assert plots("next_plot_sample", scroll_id=nothing["scroll_id"])["events"] == []
    assert plots("get_debug_image_sample", metric="Z", variant="z")["event"] is None
    assert plots.refused("next_plot_sample", scroll_id="x") == (400, 1104)
    assert plots.refused("next_debug_image_sample", scroll_id=nothing["scroll_id"]) == (400, 1104)
    assert plots.refused("get_plot_sample", metric="A", task=UNKNOWN) == (400, 101)
    assert plots.refused("get_debug_image_sample", metric="A", variant="a", model_events=True) == (400, 201)


def test_images_of_recycled_files_are_left_out(task: Reporter, api: ApiClient) -> None:
    """Per variant: an iteration stays listed while another variant still has an image of it."""
    for iteration in range(8):
        task.image("M", "a", iteration, f"a{iteration % 3}.png")
        task.image("M", "b", iteration, f"b{iteration % 3}.png")
    task.image("M", "c", 0, "c.png")
    reply = api("events.debug_images", metrics=[{"task": task.id, "metric": "M"}], iters=20)
    assert iterations(reply) == [(7, ["Ma7", "Mb7"]), (6, ["Ma6", "Mb6"]), (5, ["Ma5", "Mb5"]), (0, ["Mc0"])]
    flat = task("debug_images", "v2.6", iters=20)
    assert stops(flat["images"]) == ["Ma7", "Ma6", "Ma5", "Mb7", "Mb6", "Mb5", "Mc0"]


def test_an_image_below_the_range_is_none(task: Reporter) -> None:
    for iteration in range(8):
        task.image("M", "a", iteration, f"a{iteration % 3}.png")
    low = task("get_debug_image_sample", metric="M", variant="a", iteration=0)
    assert (low["event"], low["min_iteration"], low["max_iteration"]) == (None, 5, 7)
    high = task("get_debug_image_sample", metric="M", variant="a", iteration=99)
    assert high["event"]["iter"] == 7


def test_a_scroll_id_keeps_its_range_until_it_is_refreshed(task: Reporter) -> None:
    for iteration in range(8):
        task.image("M", "a", iteration, f"a{iteration % 3}.png")
    request = {"metric": "M", "variant": "a"}
    first = task("get_debug_image_sample", **request)
    task.image("M", "a", 8, "a2.png")

    def shown(**more: Any) -> tuple[int, int, int]:
        reply = task("get_debug_image_sample", **request, scroll_id=first["scroll_id"], **more)
        return reply["event"]["iter"], reply["min_iteration"], reply["max_iteration"]

    assert shown() == (8, 5, 7)
    assert shown(refresh=True) == (8, 6, 8)


def test_many_tasks_at_once(plots: Reporter, api: ApiClient) -> None:
    ids = [plots.id] * 101
    assert api("events.get_multi_task_plots", tasks=ids)["returned"] == 2
    assert api("events.get_multi_task_plots", tasks=ids, no_scroll=True)["scroll_id"] is None
    assert api.send("events.get_multi_task_plots", tasks=[]).error[:2] == (400, 12)
    assert api.send("events.get_multi_task_plots", tasks=ids, iters=0).error[:2] == (400, 12)
    assert api.send("events.get_multi_task_plots", tasks=[*ids, UNKNOWN]).error[:2] == (400, 101)
    entries = [{"task": plots.id, "metric": "A"}] * 101
    assert len(api("events.plots", metrics=entries)["metrics"]) == 1
