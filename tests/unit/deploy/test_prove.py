"""What an agent's log says about whether it works for anybody."""

import pytest

from deploy.verification.prove import log_cause

ROUND = "No tasks in Queues, sleeping for 5.0 seconds"


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        ("Error: Could not find queue with name/id: pods", "its queue does not exist"),
        ("APIError: code 401: Unauthorized (invalid credentials)", "the server refuses its keys"),
        ("<500/401> tasks: refused", "the server refuses its keys"),
        # An id may hold any number.
        ("pod/clearml-id-6015a4dbce804401b1c4db780872eba5 created", None),
        ("pod/clearml-id-401f00000000000000000000000000ab created", None),
    ],
)
def test_the_cause_in_the_last_round(line, meaning):
    found = log_cause([ROUND, "401 of long ago", ROUND, line, ROUND])
    assert (found[:2] if found else None) == ((line, meaning) if meaning else None)
