"""The steps of a run as its page shows them: boxes of the graph, rows of the table. Pure.

Made here and not in a template: a run may have hundreds of steps, and a template takes ten times as long for one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from urllib.parse import quote, urlencode

from markupsafe import Markup

from clearml_localserver.web.dag import Layout
from clearml_localserver.web.drawing import box, safe
from clearml_localserver.web.phases import Segment
from clearml_localserver.web.runs import Step
from clearml_localserver.web.text import absolute, duration

MOST_PARENTS, LONGEST_NAME, LONGEST_REASON = 10, 40, 300


def boxes(
    drawing: Layout, steps: Mapping[str, Step], causes: Mapping[str, str], current: str | None, here: str, now: datetime
) -> Markup:
    """Return the boxes of a run's graph.

    Args:
        drawing: The placed graph.
        steps: The steps by name.
        causes: Why steps failed by name.
        current: Name of the step that is open.
        here: The page's address, without a step.
        now: The end of what has not ended.
    """
    start, found = f"{here}{'&' if '?' in here else '?'}", []
    for placed in drawing.boxes:
        step = steps[placed.name]
        seconds = step.seconds(now)
        line = step.status if seconds is None else f"{step.status} · {duration(seconds)}"
        href = f"{start}{urlencode({'step': step.name}, errors='replace')}#step"
        extra = causes.get(step.name) or step.message or step.status
        found.append(box(placed, f"s-{step.status}", step.name, line, href, current=step.name == current, extra=extra))
    return Markup("".join(found))  # noqa: S704  each is safe


def table_rows(
    steps: Sequence[Step],
    chart: Mapping[str, list[Segment]],
    queues: Mapping[str, str],
    causes: Mapping[str, str],
    now: datetime,
) -> Markup:
    """Return the rows of the table of steps.

    Args:
        steps: The steps.
        chart: Where the phases of each lie in the run's time.
        queues: Names of queues by id.
        causes: Why steps failed by name.
        now: The end of what has not ended.
    """
    found = []
    for step in steps:
        page = f"/tasks/{quote(step.task_id, safe='', errors='replace')}" if step.task_id else ""
        found.append(
            f'<tr>\n<td class="wide">{_named(step, page)}{_after(step.parents)}</td>'
            f'<td><span class="badge s-{step.status}">{step.status}</span></td>'
            f'<td class="muted">{safe(queues.get(step.queue_id) or step.queue or "–")}</td>'
            f'<td class="muted">{safe(step.worker or "–")}</td>'
            f'<td class="num">{duration(step.waited(now))}</td><td class="num">{_took(step, now)}</td>'
            f'<td class="chart">{_timeline(chart.get(step.name, ()))}</td>\n</tr>\n'
        )
        if page and step.status in ("failed", "aborted"):
            reason = causes.get(step.name) or step.message or "No reason was given."
            if len(reason) > LONGEST_REASON:
                reason = f"{reason[: LONGEST_REASON - 1]}…"
            found.append(
                f'<tr class="detail"><td colspan="7"><span class="warn">{safe(reason)}</span> '
                f'<a href="{safe(page)}/console">Console</a></td></tr>\n'
            )
    return Markup("".join(found))  # noqa: S704  what is put in is a number, a word of ours, or safe


def _named(step: Step, page: str) -> str:
    name = safe(step.name)
    title = f' title="{name}"' if len(step.name) > LONGEST_NAME else ""
    return f'<a class="name"{title} href="{safe(page)}">{name}</a>' if page else name


def _after(parents: Sequence[str]) -> str:
    more = f" and {len(parents) - MOST_PARENTS} more" if len(parents) > MOST_PARENTS else ""
    return f' <span class="muted small">after {safe(", ".join(parents[:MOST_PARENTS]))}{more}</span>' if parents else ""


def _took(step: Step, now: datetime) -> str:
    told = duration(step.seconds(now))
    if not step.started or step.ended:
        return told
    since = f'datetime="{step.started.isoformat()}" title="since {absolute(step.started)}"'
    return f"<time {since} data-since>{told}</time>"


def _timeline(segments: Iterable[Segment]) -> str:
    """Return the phases of a step as a picture; nothing where none is known."""
    words, bars = [], []
    for item in segments:
        phase = item.phase
        words.append(f"{phase.name} {duration(phase.seconds)}")
        y, height = (3, 4) if phase.key == "wait" else (1, 8)
        bars.append(
            f'<rect class="p-{phase.key}" x="{item.x:.2f}" y="{y}" width="{item.width:.2f}" height="{height}">'
            f"<title>{words[-1]}</title></rect>"
        )
    if not bars:
        return ""
    return (
        '<svg class="timeline" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" '
        f'aria-label="{", ".join(words)}">{"".join(bars)}</svg>'
    )
