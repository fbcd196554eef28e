"""The layout of graphs: what must hold of every drawing."""

from __future__ import annotations

import re

from clearml_localserver.web import dag
from hypothesis import given, settings
from hypothesis import strategies as st


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, list[str]]:
    """Any graph that a client may store: cycles, unknown and repeated parents included."""
    names = [f"n{i}" for i in range(draw(st.integers(0, 14)))]
    parents = st.lists(st.sampled_from([*names, "unknown"]), max_size=4) if names else st.just([])
    return {name: draw(parents) for name in names}


def ends(path: str) -> tuple[float, float, float, float]:
    numbers = [float(text) for text in re.findall(r"-?\d+\.\d", path)]
    return numbers[0], numbers[1], numbers[-2], numbers[-1]


def drawn(graph: dict[str, list[str]]) -> dag.Layout:
    drawing = dag.layout(graph)
    assert drawing is not None
    return drawing


@given(graphs())
@settings(deadline=None)
def test_boxes_never_overlap_and_lie_inside(graph: dict[str, list[str]]) -> None:
    drawing = drawn(graph)
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
    drawing = drawn(graph)
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
    edges = [(edge.source, edge.target) for edge in drawn(acyclic).edges]
    assert sorted(edges) == sorted({(parent, name) for name, parents in acyclic.items() for parent in parents})


def test_an_empty_graph_is_an_empty_drawing() -> None:
    assert drawn({}) == dag.Layout(0.0, 0.0, [], [])


def test_a_cycle_loses_an_edge_and_nothing_else() -> None:
    drawing = drawn({"a": ["c"], "b": ["a"], "c": ["b"], "self": ["self"]})
    assert len(drawing.boxes) == 4
    assert len(drawing.edges) == 2


def test_the_diamond_is_symmetric() -> None:
    drawing = drawn({"split": [], "train": ["split"], "test": ["split"], "join": ["train", "test"]})
    y = {box.name: box.y for box in drawing.boxes}
    assert y["split"] == y["join"] == (y["train"] + y["test"]) / 2


def test_crossings_that_can_be_avoided_are() -> None:
    drawing = drawn({"a": [], "b": [], "of_b": ["b"], "of_a": ["a"]})
    y = {box.name: box.y for box in drawing.boxes}
    assert (y["a"] < y["b"]) == (y["of_a"] < y["of_b"])


def test_an_edge_passes_boxes_in_its_way() -> None:
    drawing = drawn({"a": [], "middle": ["a"], "b": ["middle", "a"]})
    middle = next(box for box in drawing.boxes if box.name == "middle")
    long = next(edge for edge in drawing.edges if (edge.source, edge.target) == ("a", "b"))
    passing = float(re.findall(r" (-?\d+\.\d)H", long.path)[0])
    assert not middle.y < passing < middle.y + drawing.box_height


def waiting_for(count: int, most: int) -> dict[str, list[str]]:
    """Steps that each wait for the ones before them, at most so many."""
    return {f"s{i}": [f"s{j}" for j in range(max(0, i - most), i)] for i in range(count)}


def test_a_wide_pipeline_is_laid_out_quickly_enough_to_be_polled() -> None:
    layers = {f"l{i}s{j}": [f"l{i - 1}s{k}" for k in range(20)] if i else [] for i in range(6) for j in range(20)}
    assert len(drawn(layers).boxes) == 120


def test_where_edges_are_too_many_those_that_follow_from_others_are_left_out() -> None:
    # Counting crossings pair by pair took 97 s for the second one.
    for count, most in ((40, 40), (200, 40), (400, 40)):
        drawing = drawn(waiting_for(count, most))
        assert [(edge.source, edge.target) for edge in drawing.edges] == [
            (f"s{i}", f"s{i + 1}") for i in range(count - 1)
        ]
        assert drawing.left_out == sum(map(len, waiting_for(count, most).values())) - count + 1
    assert drawn(waiting_for(20, 20)).left_out == 0


def test_a_graph_beyond_any_drawing_is_not_drawn() -> None:
    assert dag.layout(waiting_for(1500, 40)) is None
    ladder = {f"s{i}": [f"s{i - 1}"] if i else [] for i in range(200)} | {
        f"t{i}": [f"s{i}", "root"] for i in range(150)
    }
    assert dag.layout(ladder | {"root": []}) is None, "20 boxes high and 200 wide, but 11,000 bends"


@given(graphs())
@settings(deadline=None)
def test_leaving_edges_out_changes_no_order(graph: dict[str, list[str]]) -> None:
    known = dag._acyclic(graph)
    depth = dag._depths(known)
    reduced = dag._reduced(known, depth)
    assert dag._depths(reduced) == depth

    def ancestors(parents: dict[str, list[str]], name: str) -> set[str]:
        return set(parents[name]).union(*(ancestors(parents, parent) for parent in parents[name]))

    assert all(ancestors(known, name) == ancestors(reduced, name) for name in known)


@given(graphs())
@settings(deadline=None)
def test_crossings_are_counted_as_pair_by_pair(graph: dict[str, list[str]]) -> None:
    known = dag._acyclic(graph)
    slots, _ = dag._slots(known, dag._depths(known))
    layers: list[list[dag._Slot]] = [[] for _ in range(1 + max((slot.layer for slot in slots), default=0))]
    for slot in slots:
        layers[slot.layer].append(slot)
    dag._number(layers)
    pairs = 0
    for layer in layers[:-1]:
        edges = [(slot.order, right.order) for slot in layer for right in slot.after]
        pairs += sum(a[0] < b[0] and a[1] > b[1] for a in edges for b in edges)
    assert dag._crossings(layers) == pairs
