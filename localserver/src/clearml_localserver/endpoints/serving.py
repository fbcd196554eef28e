"""Service `serving`: which containers serve models, and how much they are used."""

from __future__ import annotations

from itertools import groupby

from clearml_localserver.errors import ApiError, validation_error
from clearml_localserver.registry import Call, Data, endpoint
from clearml_localserver.rules import serving as rules
from clearml_localserver.rules import workers
from clearml_localserver.store import Tx
from clearml_localserver.tables import serving as tables

TEXT = {"type": "string"}
TEXTS = {"type": "array", "items": TEXT}
COUNT = {"type": "integer", "minimum": 0, "maximum": 2**53}
FIGURE = {"type": "number", "minimum": 0, "maximum": 2**53}
REFERENCE = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["type", "value"],
        "properties": {"type": {"enum": ["app_id", "app_instance", "model", "task", "url"]}, "value": TEXT},
    },
}
CONTAINER_ID = {"type": "object", "required": ["container_id"], "properties": {"container_id": TEXT}}
DESCRIPTION = {
    **dict.fromkeys(("container_id", "endpoint_name", "endpoint_url", "model_name", *rules.DESCRIBED), TEXT),
    "input_size": {"type": ["string", "number"]},
    "tags": TEXTS,
    "system_tags": TEXTS,
    "reference": REFERENCE,
    "timeout": {"type": "integer", "minimum": 1, "maximum": 2**31},
    "machine_stats": {"type": "object"},
}
USE = {
    "uptime_sec": COUNT,
    "requests_num": COUNT,
    "requests_min": FIGURE,
    "latency_ms": FIGURE,
}
NAMED = ["container_id", "endpoint_name", "model_name"]
REGISTER = {"type": "object", "required": NAMED, "properties": DESCRIPTION}
REPORT = {"type": "object", "required": NAMED, "properties": DESCRIPTION | USE}
URL = {"type": "object", "required": ["endpoint_url"], "properties": {"endpoint_url": TEXT}}
HISTORY = {
    "type": "object",
    "required": ["endpoint_url", "from_date", "to_date", "interval"],
    "properties": {
        "endpoint_url": TEXT,
        "from_date": {"type": "number"},
        "to_date": {"type": "number"},
        "interval": {"type": "integer"},
        "metric_type": {"enum": list(rules.METRICS)},
        "instance_charts": {"type": "boolean"},
    },
}


@endpoint("serving.register_container", writes=True, schema=REGISTER)
def register_container(call: Call, tx: Tx) -> Data:
    """Register a container; one without an address is still loading its model."""
    _store(call, tx)
    return {}


@endpoint("serving.unregister_container", writes=True, schema=CONTAINER_ID)
def unregister_container(call: Call, tx: Tx) -> Data:
    """Remove a container; an unknown one is not an error."""
    tables.remove_container(tx, call.data["container_id"])
    return {}


@endpoint("serving.container_status_report", writes=True, schema=REPORT)
def container_status_report(call: Call, tx: Tx) -> Data:
    """Record that a container is alive, and its figures. What it does not report is removed."""
    if not call.data.get("endpoint_url"):
        raise validation_error("Missing required field 'endpoint_url'")
    _store(call, tx)
    now = call.now.timestamp()
    url, id, figures = call.data["endpoint_url"], call.data["container_id"], rules.figures(call.data)
    tables.add_report(tx, url, id, now, figures, oldest=now - rules.KEEP_S)
    return {}


@endpoint("serving.get_endpoints", schema={"type": "object"})
def get_endpoints(call: Call, tx: Tx) -> Data:
    """List the addresses at which models are served."""
    by_url = groupby(tables.serving(tx, call.now.timestamp()), key=lambda item: item["url"])
    return {"endpoints": [rules.endpoint_row(list(items)) for _, items in by_url]}


@endpoint("serving.get_loading_instances", schema={"type": "object"})
def get_loading_instances(call: Call, tx: Tx) -> Data:
    """List the containers that serve nothing yet."""
    return {"instances": [rules.loading_row(item, call.now) for item in tables.loading(tx, call.now.timestamp())]}


@endpoint("serving.get_endpoint_details", schema=URL, differs="also answers where only some containers have reported")
def get_endpoint_details(call: Call, tx: Tx) -> Data:
    """Describe the containers at one address."""
    url = call.data["endpoint_url"]
    containers = tables.serving_at(tx, url, call.now.timestamp())
    if not containers:
        raise ApiError(400, 1052, f"No container instances found for service url: url={url}")
    return rules.details(containers)


@endpoint("serving.get_endpoint_metrics_history", schema=HISTORY)
def get_endpoint_metrics_history(call: Call, tx: Tx) -> Data:
    """Return what the containers at one address reported, over time: together, and each."""
    span = workers.span(call.data, least_step=workers.MIN_STEP_S)
    metric = rules.METRICS[call.data.get("metric_type", "requests")]
    rows = tables.history(tx, call.data["endpoint_url"], metric, span)
    total, each = rules.curves(metric, rows, span.starts)
    instances = each if call.data.get("instance_charts", True) else {}
    if not rows:
        total |= {"dates": [], "values": []}
    return {"computed_interval": span.step, "total": total, "instances": instances}


def _store(call: Call, tx: Tx) -> None:
    id, now = call.data["container_id"], call.now.timestamp()
    entry = rules.container(call.data, tables.container(tx, id, now), call.now)
    tables.put_container(tx, id, entry["url"] or None, now + entry["timeout"], entry)
