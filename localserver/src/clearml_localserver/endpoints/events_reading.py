"""Service `events`, reading in pages: all events of a type, and the console."""

from __future__ import annotations

import re
from typing import Any

import orjson

from clearml_localserver.endpoints.events_fields import FLAG, METRICS, TEXT, owner_of
from clearml_localserver.errors import ApiError, validation_error
from clearml_localserver.events import store as events_store
from clearml_localserver.events.log_search import search_log
from clearml_localserver.events.pages import LAST_ROW, LogPosition, page_by_iteration, page_of_log
from clearml_localserver.registry import Call, Data, Part, Raw, endpoint
from clearml_localserver.rules.events import CONTENT, LOG, SCALAR
from clearml_localserver.rules.scroll import decode_scroll, encode_scroll
from clearml_localserver.store import Tx

MAX_BATCH = 10_000
DEFAULT_BATCH = 500
LINES_OF_PART = 2000
"""A downloaded console is read in parts of so many lines: some milliseconds each."""

CHARACTERS_OF_PART = 2**21
"""And of so many characters, or one line: lines of megabytes must not all be in memory at once."""

TEXT_LINE = "{asctime} {worker} {level} {msg}"
NUMBER = (int, float)
LOG_FIELDS = {
    "metrics": METRICS,
    "from": {"enum": ["head", "tail"]},
    "scroll_id": TEXT,
    "model_events": FLAG,
    "contains": {"type": "string", "minLength": 1, "maxLength": 200},
    "count_total": FLAG,
}
DOWNLOAD_FIELDS = {"model_events": FLAG, "line_format": {"type": "string", "maxLength": 1000}}


@endpoint("events.get_task_events", differs="works for console lines (genuine: 500)")
def get_task_events(call: Call, tx: Tx) -> Data:
    """Page through events in order of iteration; console lines come after them, in order of time."""
    type_ = call.data.get("event_type")
    if type_ and type_ not in CONTENT:
        raise validation_error(f"field=event_type: {type_} is not one of {', '.join(CONTENT)}")
    return _page(call, tx, {"event_type": type_, "batch": _batch_size(call, low=1)})


@endpoint("events.get_scalar_metric_data", fields={"order": TEXT})
def get_scalar_metric_data(call: Call, tx: Tx) -> Data:
    """Page through the scalars of a metric, highest iteration first."""
    metric = call.data.get("metric")
    selection = [{"metric": metric}] if metric is not None else None
    options = {"event_type": SCALAR, "metrics": selection, "batch": MAX_BATCH, "descending": True}
    page = _page(call, tx, options)
    return page | {"scroll_id": None} if call.data.get("no_scroll") else page


def _page(call: Call, tx: Tx, options: dict[str, Any]) -> Data:
    owner = owner_of(call, tx)
    types = [options["event_type"]] if options["event_type"] else None
    series = events_store.find_series(tx, owner, types, options.get("metrics"))
    points, console = [s for s in series if s.type != LOG], [s for s in series if s.type == LOG]
    descending = options.get("descending", call.data.get("order") == "desc")
    total, iteration, line = _decode_position(call)
    if total is None:  # counted for the first page, then carried along: counting a million takes its time
        total = events_store.count(tx, series)
    events: list[Data] = []
    if line is None:
        events, iteration = page_by_iteration(tx, points, options["batch"], iteration, descending)
    if not events:
        page = page_of_log(tx, console, options["batch"], descending, line)
        events, line = page.events, page.last
    scroll = encode_scroll("events", total, iteration, *(line or (None, None)))
    return {"events": events, "returned": len(events), "total": total, "scroll_id": scroll}


def _decode_position(call: Call) -> tuple[int | None, int | None, LogPosition | None]:
    if not (text := call.data.get("scroll_id")):
        return None, None, None
    nothing = type(None)
    total, iteration, moment, row = decode_scroll(
        text, "events", int, (int, nothing), (*NUMBER, nothing), (int, nothing)
    )
    if (moment is None) != (row is None):
        raise ApiError(400, 1104, f"Invalid scroll id: scroll_id={text}")
    return total, iteration, (moment, row) if row is not None else None


@endpoint("events.clear_scroll", schema={"type": "object"}, since="2.18")
def clear_scroll(call: Call, tx: Tx) -> Data:
    """Drop a scroll id: nothing to do, since scroll ids hold their own state."""
    return {}


@endpoint(
    "events.get_task_log",
    fields=LOG_FIELDS,
    differs="`contains` searches backwards, `searched_to` is where to go on; `count_total` false is quicker; a page "
    "ends after 64 Mi characters, with `more`",
)
def get_task_log(call: Call, tx: Tx) -> Data:
    """Page through a task's console by time, or search it."""
    owner = owner_of(call, tx)
    series = events_store.find_series(tx, owner, [LOG], call.data.get("metrics"))
    batch = _batch_size(call, low=0)
    if call.version < (2, 9):
        return _old_task_log(call, tx, series, batch)
    start = call.data.get("from_timestamp")
    if "contains" in call.data:
        events, searched_to = search_log(tx, series, call.data["contains"], start, max(1, batch))
        return {"events": events, "returned": len(events), "searched_to": searched_to}
    earlier = call.data.get("navigate_earlier", True)
    # Strictly older (or newer) than the given moment: no line of that moment itself.
    after = None if start is None else (float(start), -1 if earlier else LAST_ROW)
    page = page_of_log(tx, series, batch, earlier, after, whole_last_moment=True)
    events = page.events
    wanted = call.data.get("order")
    if wanted and (wanted == "desc") != earlier:
        events.reverse()
    total = events_store.count(tx, series) if call.data.get("count_total", True) else None
    return {"events": events, "returned": len(events), "total": total} | ({"more": True} if page.is_cut else {})


def _old_task_log(call: Call, tx: Tx, series: list[events_store.Series], batch: int) -> Data:
    """Answer API versions below 2.9: scroll from the head (1.7 on) or the tail, newest line of a page first."""
    from_tail = call.data.get("from", "tail" if call.version < (1, 7) else "head") == "tail"
    after: Any = None
    if text := call.data.get("scroll_id"):
        after = tuple(decode_scroll(text, "log", NUMBER, int))
    page = page_of_log(tx, series, batch, from_tail, after)
    events = page.events
    if (call.data.get("order", "desc") == "desc") != from_tail:
        events.reverse()
    scroll = encode_scroll("log", *(page.last or (0, LAST_ROW)))
    return {"events": events, "returned": len(events), "total": events_store.count(tx, series), "scroll_id": scroll}


@endpoint("events.download_task_log", fields=DOWNLOAD_FIELDS)
def download_task_log(call: Call, tx: Tx) -> Raw:
    """Return a task's whole console as a file."""
    owner = owner_of(call, tx)
    series = events_store.find_series(tx, owner, [LOG])
    as_text = call.data.get("line_type") == "text"
    text_format = call.data.get("line_format", TEXT_LINE)

    def part_after(position: LogPosition | None) -> Part:
        def read(tx: Tx) -> tuple[bytes, Part | None]:
            page = page_of_log(tx, series, LINES_OF_PART, False, position, room=CHARACTERS_OF_PART)
            lines = [_text_line(text_format, event) if as_text else _json_line(event) for event in page.events]
            body = b"".join(line + b"\n" for line in lines)
            return body, part_after(page.last) if lines else None

        return read

    body, rest = part_after(None)(tx)
    headers = {"Content-Disposition": f"attachment; filename=task_{owner}.log"}
    return Raw(body, "text/plain; charset=utf-8", headers, rest)


def _text_line(text_format: str, event: Data) -> bytes:
    """Fill a line format; only plain `{field}` places are filled, so that a format cannot reach anything else."""
    fields = event | {"asctime": event["timestamp"]}
    return re.sub(r"\{(\w+)\}", lambda match: str(fields.get(match[1], "")), text_format).encode(errors="replace")


def _json_line(event: Data) -> bytes:
    kept = {name: value for name, value in event.items() if name not in ("type", "task", "timestamp")}
    return orjson.dumps(kept | {"asctime": event["timestamp"]})


def _batch_size(call: Call, low: int) -> int:
    size: int = call.data.get("batch_size", DEFAULT_BATCH)
    if not low <= size <= MAX_BATCH:
        raise validation_error(f"field=batch_size: {size} is not between {low} and {MAX_BATCH}")
    return size
