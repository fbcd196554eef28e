"""Amounts as Kubernetes writes them."""

from __future__ import annotations

import pytest

from clearml_access.quantities import as_memory, parse_quantity


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("4Gi", 4 * 2**30),
        ("512Mi", 2**29),
        ("1.5Gi", 3 * 2**29),
        ("1500M", 1.5e9),
        ("1e9", 1e9),
        ("128974848", 128974848),
    ],
)
def test_memory(text, number):
    assert parse_quantity(text) == number


def test_parts_of_a_cpu():
    assert parse_quantity("1500m") == parse_quantity("1.5")


@pytest.mark.parametrize("text", ["", "much", "4 Gi", "4gb", "-1", "1e", "Gi"])
def test_what_is_no_quantity_is_refused(text):
    with pytest.raises(ValueError, match="not a quantity"):
        parse_quantity(text)


@pytest.mark.parametrize("text", ["4Gi", "6Gi", "512Mi", "1025Ki", "0", "1"])
def test_a_size_reads_back(text):
    assert as_memory(int(parse_quantity(text))) == text
