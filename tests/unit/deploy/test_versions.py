"""Versions: helm's ranges, and which agents an open-source server can work with."""

from __future__ import annotations

import pytest

from deploy.versions import Pin, parse, satisfies


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("v1.34.2", (1, 34, 2)),
        ("v1.33.0-gke.12", (1, 33, 0)),
        ("v1.34.2+k3s1", (1, 34, 2)),
        ("v3.21", (3, 21, 0)),
        ("1", (1, 0, 0)),
        ("latest", None),
        ("", None),
    ],
)
def test_a_version_is_read(text, numbers):
    assert parse(text) == numbers


UPSTREAM_532 = ">= 1.21.0-0 < 1.33.0-0"


@pytest.mark.parametrize(
    ("version", "constraint", "expected"),
    [
        ("v1.34.2", UPSTREAM_532, False),
        ("v1.33.0", UPSTREAM_532, False),
        ("v1.32.9", UPSTREAM_532, True),
        ("v1.32.9-eks-1", UPSTREAM_532, True),
        ("v1.21.0", UPSTREAM_532, True),
        ("v1.20.15", UPSTREAM_532, False),
        ("v1.34.2", ">= 1.21.0-0", True),
        ("v1.34.2", ">=1.21.0-0, <1.40.0", True),
        ("v1.34.2", "1.34.x", True),
        ("v1.34.2", "1.33.x", False),
        ("v1.34.2", "~1.34.0", True),
        ("v1.34.2", "~1.34.3", False),
        ("v1.34.2", "^1.20.0", True),
        ("v2.0.0", "^1.20.0", False),
        ("v1.34.2", "1.20.0 - 1.35.0", True),
        ("v1.34.2", "< 1.30.0 || >= 1.34.0", True),
        ("v1.31.0", "< 1.30.0 || >= 1.34.0", False),
        ("v1.34.2", "!= 1.34.2", False),
        ("v1.34.2", "= 1.34.2", True),
        ("v1.34.2", "*", True),
        ("unknown", ">= 1.0.0", False),
    ],
)
def test_helms_ranges(version, constraint, expected):
    assert satisfies(version, constraint) is expected


@pytest.mark.parametrize(
    ("pin", "refused"),
    [
        ("==1.9.2", False),
        ("==1.9.3", True),
        ("==2.0.0", True),
        ("==2.0.6", True),
        ("==2.0.7", False),
        ("==3.0.3", False),
        ("", False),
        (">=1.9.0", False),
    ],
)
def test_the_known_bad_agents_are_refused_for_an_open_source_server(pin, refused):
    assert bool(Pin(pin).refused(open_source_server=True)) is refused
    assert Pin(pin).refused(open_source_server=False) is None


def test_a_refusal_names_the_issue():
    assert "clearml-agent#223" in str(Pin("==2.0.0").refused(open_source_server=True))
