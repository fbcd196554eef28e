"""Where the boxes of a graph go: layers from left to right, few crossings, short straight edges. Pure geometry.

The method is the usual one for layered graphs: longest path gives the layer, edges over several layers get a bend
point in each, barycentre sweeps order the layers, and every layer is then moved towards its neighbours as far as the
gap between boxes allows. The work for one drawing has bounds: a graph with more edges than that is drawn without those
that follow from others, and one with too many boxes not at all.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right, insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

BOX_WIDTH, BOX_HEIGHT = 208.0, 54.0
GAP_X, GAP_Y = 72.0, 22.0
BEND_HEIGHT = 8.0
"""Room that a passing edge takes in a layer."""

MARGIN = 8.0
SWEEPS = 12
MAX_BOXES = 400
"""Most boxes of a drawing: a larger one would be unreadable."""

MAX_SLOTS = 3000
"""Boxes and bends of a drawing; above it, edges that follow from others are left out, and then all bends count."""


@dataclass(frozen=True)
class Box:
    """A placed node; `x` and `y` are its top left corner."""

    name: str
    x: float
    y: float


@dataclass(frozen=True)
class Edge:
    """A drawn edge; `path` is the `d` of an SVG path."""

    source: str
    target: str
    path: str


@dataclass(frozen=True)
class Layout:
    """A drawn graph."""

    width: float
    height: float
    boxes: list[Box]
    edges: list[Edge]
    left_out: int = 0
    """Edges that are not drawn, because longer ways say the same."""

    box_width: float = BOX_WIDTH
    box_height: float = BOX_HEIGHT


@dataclass
class _Slot:
    """A place in a layer: a node, or the bend of an edge that passes through."""

    name: str | None
    layer: int
    before: list[_Slot] = field(default_factory=list)
    after: list[_Slot] = field(default_factory=list)
    order: int = 0
    y: float = 0.0

    @property
    def height(self) -> float:
        return BEND_HEIGHT if self.name is None else BOX_HEIGHT


def layout(parents: Mapping[str, Sequence[str]]) -> Layout | None:
    """Place every key of `parents` right of its parents; return None for a graph that is too large to be drawn.

    Parents that are not keys themselves are left out, and so is the last edge of a cycle: a page must be shown for
    any graph that a client stores.
    """
    if not parents:
        return Layout(0.0, 0.0, [], [])
    if len(parents) > MAX_BOXES:
        return None
    return _layout(tuple((name, tuple(its)) for name, its in parents.items()))


@lru_cache(maxsize=32)
def _layout(graph: tuple[tuple[str, tuple[str, ...]], ...]) -> Layout | None:
    """Place a graph; the page of a run asks for the same one again and again."""
    parents = dict(graph)
    known = _acyclic(parents)
    depth = _depths(known)
    left_out = 0
    if _room(known, depth) > MAX_SLOTS:
        reduced = _reduced(known, depth)
        left_out = sum(map(len, known.values())) - sum(map(len, reduced.values()))
        known = reduced
        if _room(known, depth) > MAX_SLOTS:
            return None
    slots, chains = _slots(known, depth)
    layers: list[list[_Slot]] = [[] for _ in range(1 + max(slot.layer for slot in slots))]
    for slot in slots:
        layers[slot.layer].append(slot)
    _order(layers)
    _place(layers)
    top = min(slot.y - slot.height / 2 for slot in slots) - MARGIN
    for slot in slots:
        slot.y -= top
    boxes = [
        Box(slot.name, _left(slot.layer), round(slot.y - BOX_HEIGHT / 2, 1)) for slot in slots if slot.name is not None
    ]
    edges = [Edge(source, target, _path(chain)) for (source, target), chain in chains.items()]
    width = _left(len(layers) - 1) + BOX_WIDTH + MARGIN
    height = max(slot.y + slot.height / 2 for slot in slots) + MARGIN
    return Layout(width, round(height, 1), boxes, edges, left_out)


def _acyclic(parents: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return the graph without unknown or repeated parents, and without edges that close a cycle."""
    result: dict[str, list[str]] = {}
    done: set[str] = set()
    for start in parents:
        open_path: dict[str, None] = {}
        stack = [(start, False)]
        while stack:
            name, leaving = stack.pop()
            if leaving:
                open_path.pop(name, None)
                done.add(name)
                continue
            if name in done or name in open_path:
                continue
            open_path[name] = None
            result[name] = [p for p in dict.fromkeys(parents[name]) if p in parents and p not in open_path]
            stack.append((name, True))
            stack.extend((parent, False) for parent in reversed(result[name]))
    return {name: result[name] for name in parents}


def _depths(parents: dict[str, list[str]]) -> dict[str, int]:
    """Return the length of the longest way to each node: its layer."""
    depth: dict[str, int] = {}
    for start in parents:
        stack = [start]
        while stack:
            name = stack[-1]
            missing = [parent for parent in parents[name] if parent not in depth]
            if missing:
                stack.extend(missing)
                continue
            depth[name] = 1 + max((depth[parent] for parent in parents[name]), default=-1)
            stack.pop()
    return depth


def _room(parents: dict[str, list[str]], depth: dict[str, int]) -> int:
    """Return how many boxes and bends a drawing has."""
    return len(parents) + sum(depth[name] - depth[parent] for name, its in parents.items() for parent in its)


def _reduced(parents: dict[str, list[str]], depth: dict[str, int]) -> dict[str, list[str]]:
    """Return the graph without the edges that follow from others (a to c, where a to b and b to c are).

    The ancestors of a node are the bits of a number, so that joining two sets of them is one operation.
    """
    bit = {name: 1 << number for number, name in enumerate(parents)}
    above: dict[str, int] = {}
    result: dict[str, list[str]] = {}
    for name in sorted(parents, key=depth.__getitem__):
        implied = 0
        for parent in parents[name]:
            implied |= above[parent]
        above[name] = implied
        for parent in parents[name]:
            above[name] |= bit[parent]
        result[name] = [parent for parent in parents[name] if not implied & bit[parent]]
    return {name: result[name] for name in parents}


def _slots(
    parents: dict[str, list[str]], depth: dict[str, int]
) -> tuple[list[_Slot], dict[tuple[str, str], list[_Slot]]]:
    nodes = {name: _Slot(name, depth[name]) for name in parents}
    slots = list(nodes.values())
    chains = {}
    for name, its_parents in parents.items():
        for parent in its_parents:
            bends = [_Slot(None, layer) for layer in range(depth[parent] + 1, depth[name])]
            chain = [nodes[parent], *bends, nodes[name]]
            for left, right in itertools.pairwise(chain):
                left.after.append(right)
                right.before.append(left)
            slots.extend(bends)
            chains[parent, name] = chain
    return slots, chains


def _order(layers: list[list[_Slot]]) -> None:
    """Order each layer by the mean place of its neighbours, back and forth, and keep the best order met."""
    _number(layers)
    best = [list(layer) for layer in layers]
    fewest = _crossings(layers)
    for sweep in range(SWEEPS):
        if fewest == 0:
            break
        forward = sweep % 2 == 0
        for layer in layers[1:] if forward else reversed(layers[:-1]):
            layer.sort(key=lambda slot: _mean((s.order for s in (slot.before if forward else slot.after)), slot.order))
            _number([layer])
        crossings = _crossings(layers)
        if crossings < fewest:
            fewest, best = crossings, [list(layer) for layer in layers]
    layers[:] = best
    _number(layers)


def _number(layers: Iterable[list[_Slot]]) -> None:
    for layer in layers:
        for order, slot in enumerate(layer):
            slot.order = order


def _mean(values: Iterable[float], default: float) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers) if numbers else default


def _crossings(layers: list[list[_Slot]]) -> int:
    """Count the pairs of neighbouring edges that cross: those whose ends lie the other way round than their starts."""
    count = 0
    for layer in layers[:-1]:
        passed: list[int] = []
        for end in (right.order for slot in layer for right in sorted(slot.after, key=lambda s: s.order)):
            count += len(passed) - bisect_right(passed, end)
            insort(passed, end)
    return count


def _place(layers: list[list[_Slot]]) -> None:
    for layer in layers:
        y = 0.0
        for slot in layer:
            slot.y = y + slot.height / 2
            y += slot.height + GAP_Y
        for slot in layer:
            slot.y -= (y - GAP_Y) / 2
    for sweep in range(SWEEPS):
        forward = sweep % 2 == 0
        for layer in layers if forward else reversed(layers):
            wished = [
                _mean((s.y for s in ((slot.before if forward else slot.after) or [slot])), slot.y) for slot in layer
            ]
            for slot, y in zip(layer, _apart(wished, [slot.height for slot in layer]), strict=True):
                slot.y = y


def _apart(wished: list[float], heights: list[float]) -> list[float]:
    """Return the centres nearest to those wished (least squares) that keep their order and the gap between boxes.

    After taking the needed distances off, this is isotonic regression: neighbours in the wrong order are pooled.
    """
    offsets = [0.0]
    for above, below in itertools.pairwise(heights):
        offsets.append(offsets[-1] + (above + below) / 2 + GAP_Y)
    pools: list[tuple[float, int]] = []
    for wish, offset in zip(wished, offsets, strict=True):
        mean, count = wish - offset, 1
        while pools and pools[-1][0] > mean:
            other, size = pools.pop()
            mean, count = (mean * count + other * size) / (count + size), count + size
        pools.append((mean, count))
    level = [mean for mean, count in pools for _ in range(count)]
    return [base + offset for base, offset in zip(level, offsets, strict=True)]


def _left(layer: int) -> float:
    return MARGIN + layer * (BOX_WIDTH + GAP_X)


def _path(chain: list[_Slot]) -> str:
    """Return a curve through a chain of slots; it runs straight where it passes a layer."""
    commands: list[str] = []
    for left, right in itertools.pairwise(chain):
        start, end = _left(left.layer) + BOX_WIDTH, _left(right.layer)
        if not commands:
            commands.append(f"M{start:.1f} {left.y:.1f}")
        else:
            commands.append(f"H{start:.1f}")
        middle = (start + end) / 2
        commands.append(f"C{middle:.1f} {left.y:.1f} {middle:.1f} {right.y:.1f} {end:.1f} {right.y:.1f}")
    return "".join(commands)
