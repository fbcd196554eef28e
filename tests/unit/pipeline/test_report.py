import json
from dataclasses import replace
from html.parser import HTMLParser

import jinja2
import pytest

from clearml_access.run_records import RunState, StepState
from pipeline.amazon_reviews.definitions import DATA_PREPARE
from pipeline.runs.figures import read_distributions
from pipeline.runs.report import Version, lay_out, render

SPLIT = StepState("train_test_split", "t1", "completed", launched=1.0, started=2.0, process=2.5, work=3.0, returned=5.0)
STEPS = (
    replace(SPLIT, completed=5.5),
    StepState("train_processing", "t2", "cached", cached=True, parents=("train_test_split",)),
    StepState("test_processing", "t3", "failed", parents=("train_test_split",), reason="<script>bad</script>"),
)
RUN = RunState("run1", "DataPrepare", "p", "failed", steps=STEPS, created=0.0, completed=10.0)


def page(run=RUN, **changes):
    values = {
        "versions": [Version("1.2", "d1", "http://web/d1", "input")],
        "distributions": list(read_distributions([plot()])),
        "consoles": {"test_processing": ["ValueError: <b>no</b>"]},
        "run_page": "http://web/run1",
        "pages": {"train_test_split": "http://web/t1"},
        "server": "http://web",
        "definition": DATA_PREPARE,
    }
    return render(run, **(values | changes))


def plot(**changes):
    traces = [{"name": "negative", "x": ["train"], "y": [10]}, {"name": "positive", "x": ["train"], "y": [30]}]
    event = {"metric": "Class distribution", "variant": "train", "plot_str": json.dumps({"data": traces})}
    return event | changes


class Tags(HTMLParser):
    """Collects what a browser would load or run, and checks that elements close."""

    def __init__(self, text):
        super().__init__()
        self.loads, self.open, self.void = [], [], {"meta", "br", "img", "link", "path", "rect"}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag not in self.void:
            self.open.append(tag)
        if tag in ("script", "link", "img", "iframe"):
            self.loads.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_loads_nothing():
    tags = Tags(page())
    assert tags.loads == []
    assert tags.open == []


def test_everything_a_person_looks_for_is_there():
    text = page()
    for word in ("train_test_split", "1.2", "http://web/d1", "random_state", "75.0 %", "queue wait", "What went wrong"):
        assert word in text


def test_a_step_that_notes_no_moments_has_its_wait_and_its_time_from_start_to_end():
    assert "from start to end" not in page()
    bare = StepState("count", "t1", "completed", launched=1.0, started=3.0, completed=10.5)
    shown = page(replace(RUN, status="completed", steps=(bare, STEPS[1])))
    assert 'title="queue wait: 2.0 s"' in shown and 'title="from start to end: 7.5 s"' in shown
    assert '<td class="n">7.5 s</td>' in shown and '<span class="soft">9.5 s</span>' in shown


@pytest.mark.parametrize(("statuses", "is_wrong"), [(("running", "queued"), False), (("failed", "running"), True)])
def test_a_run_that_goes_on_has_gone_wrong_only_where_a_step_has(statuses, is_wrong):
    steps = tuple(StepState(f"step{number}", "t", status) for number, status in enumerate(statuses))
    shown = page(RunState("run1", status="running", steps=steps), consoles={})
    assert ("What went wrong" in shown) is is_wrong
    assert "The controller is" not in shown


def test_steps_that_were_run_again_say_why():
    assert "was run again" not in page()
    again = replace(STEPS[0], earlier_attempts=("pod: Evicted <1>", "worker lost"))
    shown = page(replace(RUN, steps=(again, *STEPS[1:])))
    assert "train_test_split was run again" in shown
    assert "<li>pod: Evicted &lt;1&gt;</li><li>worker lost</li>" in shown


def test_the_phases_of_a_steps_pod_are_shown():
    assert "its pod" not in page()
    shown = page(replace(RUN, steps=(replace(STEPS[0], pod_phases={"pull": 12, "run": 3}), *STEPS[1:])))
    assert "train_test_split, its pod: pull 12 s, run 3 s" in shown


def test_texts_of_others_cannot_become_elements():
    text = page()
    assert "<script>" not in text
    assert "<b>no</b>" not in text
    assert "&lt;b&gt;no&lt;/b&gt;" in text


def test_the_template_is_compiled_once_for_all_commands(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = page()
    with monkeypatch.context() as patch:
        patch.setattr(jinja2.Environment, "_compile", lambda *_: pytest.fail("it was compiled again"))
        assert Tags(page()).open == Tags(first).open == []
    for kept in (tmp_path / "clearml-pods" / "templates").iterdir():
        kept.write_bytes(b"spoilt")
    assert "train_test_split" in page()


def test_a_report_comes_out_where_nothing_can_be_kept(tmp_path, monkeypatch):
    (tmp_path / "clearml-pods").write_text("a file where the folder would be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert "train_test_split" in page()


def test_a_run_of_which_nothing_is_known_has_a_report_too():
    empty = RunState("run1", status="aborted")
    Tags(page(empty, versions=[], distributions=[], consoles={}, pages={}))


@pytest.mark.parametrize(
    "event",
    [
        plot(metric="something else"),
        plot(plot_str=None),
        plot(plot_str="{"),
        plot(plot_str="{}"),
        plot(plot_str='{"data": []}'),
        plot(plot_str='{"data": [{"x": ["train"]}]}'),
    ],
)
def test_plots_of_other_shapes_are_passed_over(event):
    assert list(read_distributions([event])) == []


def test_a_distribution_is_read_from_lists_and_from_plotlys_packed_numbers():
    packed = plot(
        plot_str=json.dumps({"data": [{"name": "negative", "x": ["train"], "y": {"dtype": "i2", "bdata": "CgA="}}]})
    )
    plain, binary = read_distributions([plot(), packed])
    assert plain.groups == (("train", (("negative", 10.0), ("positive", 30.0))),)
    assert binary.groups == (("train", (("negative", 10.0),)),)


def test_steps_stand_behind_their_parents():
    places = {box.step.name: (box.x, box.y) for box in lay_out(STEPS).boxes}
    assert places["train_processing"][0] == places["test_processing"][0] > places["train_test_split"][0] == 0
    assert places["train_processing"][1] != places["test_processing"][1]
    assert len(lay_out(STEPS).lines) == 2


def test_a_cycle_in_a_servers_document_does_not_hang_the_report():
    lay_out([StepState("one", parents=("two",)), StepState("two", parents=("one",))])
