"""The layout of graphs: what must hold of every drawing."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from localserver.web import dag


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, list[str]]:
    """Any graph that a client may store: cycles, unknown and repeated parents included."""
    names = [f"n{i}" for i in range(draw(st.integers(0, 14)))]
    parents = st.lists(st.sampled_from([*names, "unknown"]), max_size=4) if names else st.just([])
    return {name: draw(parents) for name in names}


def ends(path: str) -> tuple[float, float, float, float]:
    numbers = [float(text) for text in re.findall(r"-?\d+\.\d", path)]
    return numbers[0], numbers[1], numbers[-2], numbers[-1]


@given(graphs())
@settings(deadline=None)
def test_boxes_never_overlap_and_lie_inside(graph: dict[str, list[str]]) -> None:
    drawing = dag.layout(graph)
    assert sorted(box.name for box in drawing.boxes) == sorted(graph)
    for box in drawing.boxes:
        assert 0 <= box.x <= drawing.width - drawing.box_width
        assert 0 <= box.y <= drawing.height - drawing.box_height
    for i, one in enumerate(drawing.boxes):
        for other in drawing.boxes[i + 1 :]:
            assert abs(one.x - other.x) >= drawing.box_width or abs(one.y - other.y) >= drawing.box_height


@given(graphs())
@settings(deadline=None)
def test_edges_run_from_box_to_box_to_the_right(graph: dict[str, list[str]]) -> None:
    drawing = dag.layout(graph)
    boxes = {box.name: box for box in drawing.boxes}
    for edge in drawing.edges:
        source, target = boxes[edge.source], boxes[edge.target]
        start_x, start_y, end_x, end_y = ends(edge.path)
        assert (start_x, end_x) == (source.x + drawing.box_width, target.x)
        assert start_x < end_x
        assert abs(start_y - source.y - drawing.box_height / 2) < 0.2
        assert abs(end_y - target.y - drawing.box_height / 2) < 0.2


@given(graphs())
@settings(deadline=None)
def test_every_edge_of_an_acyclic_graph_is_drawn_once(graph: dict[str, list[str]]) -> None:
    order = list(graph)
    acyclic = {name: [p for p in graph[name] if p in order[: order.index(name)]] for name in order}
    drawn = [(edge.source, edge.target) for edge in dag.layout(acyclic).edges]
    assert sorted(drawn) == sorted({(parent, name) for name, parents in acyclic.items() for parent in parents})


def test_an_empty_graph_is_an_empty_drawing() -> None:
    assert dag.layout({}) == dag.Layout(0.0, 0.0, [], [])


def test_a_cycle_loses_an_edge_and_nothing_else() -> None:
    drawing = dag.layout({"a": ["c"], "b": ["a"], "c": ["b"], "self": ["self"]})
    assert len(drawing.boxes) == 4
    assert len(drawing.edges) == 2


def test_the_diamond_is_symmetric() -> None:
    drawing = dag.layout({"split": [], "train": ["split"], "test": ["split"], "join": ["train", "test"]})
    y = {box.name: box.y for box in drawing.boxes}
    assert y["split"] == y["join"] == (y["train"] + y["test"]) / 2


def test_crossings_that_can_be_avoided_are() -> None:
    drawing = dag.layout({"a": [], "b": [], "of_b": ["b"], "of_a": ["a"]})
    y = {box.name: box.y for box in drawing.boxes}
    assert (y["a"] < y["b"]) == (y["of_a"] < y["of_b"])


def test_an_edge_passes_boxes_in_its_way() -> None:
    drawing = dag.layout({"a": [], "middle": ["a"], "b": ["middle", "a"]})
    middle = next(box for box in drawing.boxes if box.name == "middle")
    long = next(edge for edge in drawing.edges if (edge.source, edge.target) == ("a", "b"))
    passing = float(re.findall(r" (-?\d+\.\d)H", long.path)[0])
    assert not middle.y < passing < middle.y + drawing.box_height


def test_a_wide_pipeline_is_laid_out_quickly_enough_to_be_polled() -> None:
    layers = {f"l{i}s{j}": [f"l{i - 1}s{k}" for k in range(20)] if i else [] for i in range(6) for j in range(20)}
    assert len(dag.layout(layers).boxes) == 120
