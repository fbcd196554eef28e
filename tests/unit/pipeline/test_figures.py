"""Plotly figures as numbers: the shapes that the task TF-IDF reports, and what is none of them."""

import base64
import json
import struct

import numpy as np
import pytest

from pipeline.amazon_reviews.model import plots
from pipeline.amazon_reviews.training.metrics import evaluate
from pipeline.runs.figures import Curves, Grid, Matrix, read_figures


def plot(figure, metric="A plot"):
    return {"metric": metric, "variant": "v", "plot_str": figure if isinstance(figure, str) else json.dumps(figure)}


@pytest.fixture(scope="module")
def evaluation():
    truth = np.array([0, 0, 1, 1, 1])
    return evaluate(truth, np.array([0, 1, 1, 1, 0]), np.array([0.1, 0.6, 0.9, 0.8, 0.3]))


def test_what_the_task_tf_idf_reports_is_read(evaluation):
    table = {"data": [{"type": "table", "header": {"values": ["class"]}, "cells": {"values": [["negative", "all"]]}}]}
    reported = [
        plot(table, "Classification report"),
        plot(plots.roc(evaluation).to_json(), "ROC"),
        plot(plots.confusion_matrix(evaluation).to_json(), "Confusion matrix"),
    ]
    matrix, curves, grid = read_figures(reported)
    assert isinstance(matrix, Matrix)
    assert (matrix.title, matrix.columns, matrix.down, matrix.across) == (
        "Confusion matrix",
        ("negative", "positive"),
        "true",
        "predicted",
    )
    assert [(name, [text for _, text in cells]) for name, cells in matrix.rows] == [
        ("negative", ["1\n50.0%", "1\n50.0%"]),
        ("positive", ["1\n33.3%", "2\n66.7%"]),
    ]
    assert isinstance(curves, Curves)
    assert all(points[0] == (0, 0) and points[-1] == (1, 1) for _, points in curves.lines)
    assert grid == Grid("Classification report", ("class",), (("negative",), ("all",)))


def test_plotlys_packed_numbers_are_read():
    def packed(*values, shape=None):
        text = base64.b64encode(struct.pack(f"<{len(values)}d", *values)).decode()
        return {"dtype": "f8", "bdata": text} | ({"shape": shape} if shape else {})

    matrix, curves = read_figures(
        [
            plot({"data": [{"type": "heatmap", "z": packed(1, 2, 3, 4, shape="2, 2")}]}),
            plot({"data": [{"type": "scatter", "x": packed(0, 1), "y": packed(0, 0.5)}]}),
        ]
    )
    assert matrix.rows == (("0", ((1, "1"), (2, "2"))), ("1", ((3, "3"), (4, "4"))))
    assert curves.lines == (("", ((0, 0), (1, 0.5))),)


@pytest.mark.parametrize(
    "figure",
    [
        "no json",
        "[]",
        "{}",
        {"data": []},
        {"data": [{"type": "bar", "x": [1], "y": [2]}]},
        {"data": [{"type": "heatmap", "z": [[1, 2]], "y": ["a", "b"]}]},
        {"data": [{"type": "scatter", "x": [0, 5], "y": [0, 1]}]},
        {"data": [{"type": "scatter", "x": [0, 1], "y": [0]}]},
        {"data": [{"type": "table", "header": {}}]},
    ],
)
def test_what_is_none_of_these_is_passed_over(figure):
    assert list(read_figures([plot(figure)])) == []
