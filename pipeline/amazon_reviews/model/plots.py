"""Plotly figures of a model: confusion matrix, ROC curve, the terms that weigh most. Pure: numbers in, figures out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.amazon_reviews.reviews.frames import CLASSES
from pipeline.amazon_reviews.reviews.plots import COLOURS
from pipeline.amazon_reviews.training.metrics import Evaluation
from pipeline.amazon_reviews.training.model import Model

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

GREY = "#5b6470"
_FONT = {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"}
_AWAY = {"ticks": "outside", "ticklen": 6, "tickcolor": "rgba(0, 0, 0, 0)"}
"""Keeps the labels of an axis off what is drawn."""

TOP_TERMS = 10
"""Of each class; more would make the figure higher than the others in its row."""


def confusion_matrix(evaluation: Evaluation) -> Figure:
    """Draw how many reviews of each class the model took for which, with the share of the true class."""
    from plotly import graph_objects

    names = list(CLASSES.values())
    counts = evaluation.confusion
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = graph_objects.Figure(
        graph_objects.Heatmap(
            x=names,
            y=names,
            z=shares.tolist(),
            zmin=0,
            zmax=1,
            text=[[f"{n:,}<br>{s:.1%}" for n, s in zip(*row, strict=True)] for row in zip(counts, shares, strict=True)],
            texttemplate="%{text}",
            textfont={"size": 15, "color": "#14181f"},  # reads well on every blue of the scale
            colorscale=[[0, "#ffffff"], [1, COLOURS["positive"]]],
            showscale=False,  # each field says its share
            xgap=3,
            ygap=3,
            hovertemplate="true %{y}, predicted %{x}: %{z:.1%}<extra></extra>",
        )
    )
    figure.update_layout(
        **_layout("Confusion matrix", f"{int(counts.sum()):,} reviews of the test set, with shares of the true class"),
        xaxis={"title": {"text": "predicted"}, "type": "category", "side": "bottom", **_AWAY},
        yaxis={"title": {"text": "true"}, "type": "category", "autorange": "reversed", **_AWAY},
    )
    return figure


def roc(evaluation: Evaluation) -> Figure:
    """Draw the ROC curve, beside the diagonal that guessing would give."""
    from plotly import graph_objects

    false_rate, true_rate = evaluation.curve
    figure = graph_objects.Figure()
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", name="guessing", line={"color": GREY, "dash": "dot"}, hoverinfo="skip"
    )
    figure.add_scatter(
        x=false_rate.tolist(),
        y=true_rate.tolist(),
        mode="lines",
        name=f"model: area {evaluation.scalars['auc']:.4f}",
        line={"color": COLOURS["positive"], "width": 3},
        hovertemplate="of the negative %{x:.1%}, of the positive %{y:.1%} taken for positive<extra></extra>",
    )
    rate = {
        "range": [-0.01, 1.01],
        "tickformat": ".0%",
        "zeroline": False,
        **_AWAY,
    }  # the line's whole width at the edges
    figure.update_layout(
        **_layout("ROC", f"area under the curve {evaluation.scalars['auc']:.4f}"),
        xaxis={"title": {"text": "false positive rate"}, **rate},
        yaxis={"title": {"text": "true positive rate"}, **rate},
        legend={"x": 0.98, "xanchor": "right", "y": 0.04, "yanchor": "bottom"},
    )
    return figure


def heaviest_terms(model: Model) -> Figure:
    """Draw the terms that speak most for each class: the difference of their weights."""
    from plotly import graph_objects

    lean = model.weights[:, -1] - model.weights[:, 0]
    order = np.argsort(lean, kind="stable")
    shown = np.unique(np.concatenate([order[:TOP_TERMS], order[-TOP_TERMS:]]))
    shown = shown[np.argsort(lean[shown], kind="stable")]
    figure = graph_objects.Figure(
        graph_objects.Bar(
            x=lean[shown].tolist(),
            y=[model.terms[place] for place in shown],
            orientation="h",
            marker={"color": [COLOURS["positive" if lean[place] > 0 else "negative"] for place in shown]},
            hovertemplate="%{y}: %{x:.3f}<extra></extra>",
        )
    )
    figure.update_layout(
        **_layout("Heaviest terms", "negative to the left, positive to the right"),
        xaxis={"title": {"text": "weight"}, "zeroline": True},
        yaxis={"type": "category", "dtick": 1, **_AWAY},
        height=max(360, 17 * len(shown) + 160),
    )
    return figure


def _layout(title: str, subtitle: str) -> dict[str, object]:
    return {
        "title": {"text": title, "subtitle": {"text": subtitle, "font": {"color": GREY}}},
        "template": "plotly_white",
        "margin": {"t": 90, "r": 24, "b": 56, "l": 72},
        "font": _FONT,
    }
