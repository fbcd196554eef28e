"""Models: the fields of a new one, how editing and updating change it, when it can be published.

Pure. Whether the projects and tasks that a model names exist is for the caller to check.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clearml_localserver.errors import ApiError
from clearml_localserver.rules import metadata
from clearml_localserver.rules.names import checked_name

Model = dict[str, Any]
Fields = dict[str, Any]

EDITABLE = (
    "name", "comment", "tags", "system_tags", "framework", "design", "labels", "ready", "project", "task", "uri",
    "parent", "metadata",
)  # fmt: skip
"""What `models.edit` sets, and `models.create` too."""

UPDATABLE = ("name", "comment", "tags", "system_tags", "uri", "project", "metadata")
"""What `models.update` sets; all else in its request is ignored."""


def new_model(id: str, request: Mapping[str, Any], *, company: str, user: str, now: str) -> Model:
    """Return the document of the model that `models.create` describes. A model is ready unless said otherwise.

    Raises:
        ApiError: 400/800 or 400/12, a field holds what it must not.
    """
    empty = {"tags": [], "system_tags": [], "design": {}, "labels": {}, "ready": True, "metadata": {}}
    return {
        "id": id,
        "company": company,
        "user": user,
        **empty,
        **given(request, EDITABLE),
        "created": now,
        "last_update": now,
        "last_change": now,
        "last_changed_by": user,
        "last_iteration": 0,
        "last_metrics": {},
    }


def given(request: Mapping[str, Any], names: tuple[str, ...]) -> Fields:
    """Return the fields of a request that are among `names`, checked.

    Raises:
        ApiError: 400/800 for a short name or a label that is not a number, 400/12 for metadata of another shape.
    """
    fields = {name: request[name] for name in names if request.get(name) is not None}
    if "name" in fields:
        fields["name"] = checked_name(fields["name"])
    if "metadata" in fields:
        fields["metadata"] = metadata.checked(fields["metadata"])
    for label, number in fields.get("labels", {}).items():
        if isinstance(number, bool) or not isinstance(number, int):
            raise ApiError(400, 800, f"Data validation error: labels.{label}={number!r} is not a whole number")
    return fields


def changed(fields: Fields, *, user: str, now: str, of_content: bool) -> Fields:
    """Return `fields` with what a change leaves behind; one `of_content` counts as an update of the model."""
    drawn: Fields = {"ui_cache": {}} if "uri" in fields else {}
    update = {"last_update": now} if of_content else {}
    return fields | drawn | {"last_change": now, "last_changed_by": user} | update


def require_draft(model: Model, company: str) -> None:
    """Refuse to publish a model that is published.

    Raises:
        ApiError: 400/203.
    """
    if model.get("ready"):
        raise ApiError(400, 203, f"Model is ready: company={company}, model={model['id']}")


def require_one_source(request: Mapping[str, Any]) -> None:
    """Refuse a request of `models.update_for_task` that names no file and no model, or both.

    Raises:
        ApiError: 400/11.
    """
    names = [name for name in ("uri", "override_model_id") if request.get(name)]
    if len(names) != 1:
        raise ApiError(
            400, 11, "Missing required fields (exactly one field is required): fields=(uri, override_model_id)"
        )
