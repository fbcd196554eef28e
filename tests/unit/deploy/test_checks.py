"""Checks: order, needs, errors as findings, exit codes, and how they are shown."""

from __future__ import annotations

import pytest

from deploy import output
from deploy.checks.check import Check, Finding, Level, Result, exit_code, fail, of_releases, ok, run, warn
from deploy.errors import ClusterUnreachableError


def broken() -> Finding:
    raise ClusterUnreachableError("the API is down", hint="start it", evidence=("event: x",))


def results(*listed: Check) -> list[Result]:
    return list(run(listed, clock=lambda: 0.0))


def test_an_error_is_a_finding_with_its_exit_code_and_evidence():
    (result,) = results(Check("a", "A", broken))
    assert result.level == Level.FAIL
    assert result.finding == Finding(Level.FAIL, "the API is down", "start it", 32, ("event: x",))


def test_what_needs_a_failed_check_is_left_out_aloud_and_so_is_what_needs_that():
    found = results(
        Check("a", "API answers", broken),
        Check("b", "B", lambda: ok("fine"), ("a",)),
        Check("c", "C", lambda: ok(""), ("a", "b")),
    )
    assert [result.level for result in found] == [Level.FAIL, Level.SKIP, Level.SKIP]
    assert found[1].finding.evidence == "needs: API answers"
    assert found[2].finding.evidence == "needs: API answers", "what failed, and not what was left out for it"


def test_what_was_left_out_is_one_line_for_each_reason():
    found = results(
        Check("a", "API answers", broken),
        Check("b", "B", lambda: ok(""), ("a",)),
        Check("c", "C", lambda: ok(""), ("b",)),
        Check("d", "D", broken),
        Check("e", "E", lambda: ok(""), ("d",)),
    )
    assert output.left_out_lines(found) == [
        "- 2 more are not checked: needs: API answers (--verbose lists them)",
        "- E: needs: D",
    ]


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        ([ok("")], 0),
        ([warn("", "")], 0),
        ([ok(""), fail("", "", 41), fail("", "", 20)], 41),
        ([fail("", "", 0)], 1),
        ([], 0),
    ],
)
def test_the_first_failure_gives_the_exit_code(findings, code):
    listed = [Check(str(index), "", lambda finding=finding: finding) for index, finding in enumerate(findings)]
    assert exit_code(results(*listed)) == code


def test_a_failure_is_shown_with_evidence_and_command():
    (result,) = results(Check("a", "A", broken))
    assert output.check_line(result) == "✗ A: the API is down\n    event: x\n    fix: start it"


def test_a_result_as_json():
    (result,) = results(Check("a", "A", lambda: ok("fine")))
    assert result.as_json() | {"seconds": 0} == {
        **{"id": "a", "title": "A", "result": "ok", "evidence": "fine", "fix": None, "exit_code": 0},
        **{"details": (), "seconds": 0, "release": None},
    }


def test_of_several_releases_what_is_shared_is_asked_once_and_a_failure_counts_for_its_own_release():
    def checks(pod: Finding) -> list[Check]:
        return [
            Check("cluster", "cluster", lambda: ok("is there"), shared=True),
            Check("pod", "pod", lambda: pod, ("cluster",)),
            Check("log", "log", lambda: ok("works"), ("pod",)),
        ]

    found = results(*of_releases({"one": checks(fail("is gone", "")), "two": checks(ok("is ready"))}))
    assert [(result.id, result.release, str(result.level)) for result in found] == [
        ("cluster", "", "ok"),
        *(("pod", "one", "fail"), ("log", "one", "skip")),
        *(("pod", "two", "ok"), ("log", "two", "ok")),
    ]
    assert [result.title for result in found[:2]] == ["cluster", "one: pod"]


def test_of_a_single_release_the_titles_do_not_name_it():
    assert [check.title for check in of_releases({"one": [Check("pod", "pod", lambda: ok(""))]})] == ["pod"]
