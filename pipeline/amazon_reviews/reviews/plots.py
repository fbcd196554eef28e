"""Plotly figures of the pipeline, for ClearML's loggers and for the report.

The module is pure: frames in, figures out; it reports nothing. Plotly is imported where a figure is made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import polars as pl

from pipeline.amazon_reviews.reviews.frames import CLASSES, class_counts

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COLOURS = {"negative": "#d9604c", "positive": "#3a86a8"}  # told apart with any kind of colour blindness
_GREY = "#5b6470"


def class_distribution(frames: Mapping[str, pl.DataFrame], title: str) -> Figure:
    """Draw how many reviews of each class every frame has, as bars with count and share.

    Args:
        frames: Name → reviews, for instance train and test; one group of bars each.
        title: The title.
    """
    from plotly import graph_objects

    counts = {name: class_counts(frame) for name, frame in frames.items()}
    figure = graph_objects.Figure()
    for place, label in enumerate(CLASSES.values()):
        rows = [table.row(place, named=True) for table in counts.values()]
        figure.add_bar(
            name=label,
            x=list(counts),
            y=[row["reviews"] for row in rows],
            text=[f"{row['reviews']:,}<br>{row['share']:.1%}" for row in rows],
            textposition="auto",
            marker={"color": COLOURS[label], "cornerradius": 4},
            hovertemplate="%{x}: %{y:,} " + label + "<extra></extra>",
        )
    total = sum(int(table["reviews"].sum()) for table in counts.values())
    figure.update_layout(
        title={"text": title, "subtitle": {"text": f"{total:,} reviews", "font": {"color": _GREY}}},
        template="plotly_white",
        barmode="group",
        bargap=0.35,
        bargroupgap=0.06,
        legend={
            "title": {"text": "class"},
            "orientation": "h",
            "x": 1,
            "xanchor": "right",
            "y": 1.02,
            "yanchor": "bottom",
        },
        xaxis={"type": "category"},
        yaxis={"title": {"text": "reviews"}, "separatethousands": True, "rangemode": "tozero"},
        margin={"t": 90, "r": 24, "b": 48, "l": 72},
        font={"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"},
    )
    return figure
