"""Figures of the pipeline, for ClearML's loggers and for the report, as plotly.js takes them.

The module is pure: frames in, figures out; it reports nothing. It does not import plotly, whose classes take a third
of a second to load: a test checks each figure with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from pipeline.amazon_reviews.reviews.frames import CLASSES, class_counts

COLOURS = {"negative": "#d9604c", "positive": "#3a86a8"}  # told apart with any kind of colour blindness
_GREY = "#5b6470"
_TEXT = "#2a3f5f"
_LINES = "#ebf0f8"

Figure = dict[str, Any]
"""`data` and `layout`, as in the JSON of plotly.js."""


def class_distribution(frames: Mapping[str, pl.DataFrame], title: str) -> Figure:
    """Draw how many reviews of each class every frame has, as bars with count and share.

    Args:
        frames: Name → reviews, for instance train and test; one group of bars each.
        title: The title.
    """
    counts = {name: class_counts(frame) for name, frame in frames.items()}
    bars = []
    for place, label in enumerate(CLASSES.values()):
        rows = [table.row(place, named=True) for table in counts.values()]
        bars.append(
            {
                "type": "bar",
                "name": label,
                "x": list(counts),
                "y": [row["reviews"] for row in rows],
                "text": [f"{row['reviews']:,}<br>{row['share']:.1%}" for row in rows],
                "textposition": "auto",
                "marker": {"color": COLOURS[label], "cornerradius": 4},
                "hovertemplate": "%{x}: %{y:,} " + label + "<extra></extra>",
            }
        )
    total = sum(int(table["reviews"].sum()) for table in counts.values())
    lines = {"gridcolor": _LINES, "linecolor": _LINES, "zerolinecolor": _LINES, "automargin": True}
    layout = {
        "title": {"text": title, "x": 0.05, "subtitle": {"text": f"{total:,} reviews", "font": {"color": _GREY}}},
        "barmode": "group",
        "bargap": 0.35,
        "bargroupgap": 0.06,
        "legend": {
            "title": {"text": "class"},
            "orientation": "h",
            "x": 1,
            "xanchor": "right",
            "y": 1.02,
            "yanchor": "bottom",
        },
        "xaxis": {"type": "category", **lines},
        "yaxis": {"title": {"text": "reviews"}, "separatethousands": True, "rangemode": "tozero", **lines},
        "margin": {"t": 90, "r": 24, "b": 48, "l": 72},
        "font": {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "color": _TEXT},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
    }
    return {"data": bars, "layout": layout}
