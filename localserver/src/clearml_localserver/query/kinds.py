"""What the kinds of documents differ in for a query: their fields, and how each may be filtered, sorted and shown.

Pure tables. A new field of a document is entered here once; filters, sorting, `only_fields` and the references of
`get_all_ex` follow from it. Paths are written with dots, arrays of objects count as objects (`models.input.model`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from clearml_localserver.document_columns import CACHE_HASH


class Shape(Enum):
    """What stands at a root field."""

    VALUE = "value"
    LIST = "list"
    OBJECT = "object"


class Scale(Enum):
    """How the bounds of a range are read."""

    NUMBER = "number"
    TIME = "time"


@dataclass(frozen=True)
class Kind:
    """One kind of document."""

    table: str
    """Name in the store, and of its kind in every call of this package."""
    label: str
    """Name in error messages."""
    fields: Mapping[str, Shape]
    """Every root field that a client may name."""
    subcode: int
    """Subcode of the 400 that answers an unknown id."""
    unknown: str
    """Text of that 400, with {id} and {company}."""
    guarded: str = ""
    """Words of the 403 that answers a change of a public document; without them it is answered like an unknown one."""
    references: Mapping[str, str] = field(default_factory=dict)
    """Paths that hold an id of another document -> its kind ("company" is the caller's own)."""
    arrays: frozenset[str] = frozenset()
    """Paths below the root that hold an array of objects."""
    patterns: frozenset[str] = frozenset()
    """Fields filtered by a regular expression."""
    choices: frozenset[str] = frozenset()
    """Paths filtered by a list of values."""
    flags: frozenset[str] = frozenset()
    """Fields filtered by a boolean."""
    dates: frozenset[str] = frozenset()
    """Fields filtered by a list of comparisons with dates."""
    ranges: Mapping[str, Scale] = field(default_factory=dict)
    """Fields filtered by `[min, max]`."""
    dynamic: Mapping[str, int] = field(default_factory=dict)
    """Objects with keys of the users' making, filtered by paths of this many parts (0: any number)."""
    bad_path: str = "invalid field"
    """Words of the 400/12 that answers a dynamic path of another length."""
    text: tuple[str, ...] = ("name", "id")
    """Fields that `search_text` looks in."""
    concealed: frozenset[str] = frozenset({"company_origin", "unique_metrics"})
    """Fields shown only when a client names them."""
    expanded: tuple[str, ...] = ()
    """Paths through references that `get_all_ex` always follows."""
    whole: bool = False
    """Whether `get_all_ex` pays no heed to `only_fields`."""
    coarse: frozenset[str] = frozenset()
    """Fields of which one value finds a good part of all documents: an index on them is a last resort."""
    selective: frozenset[str] = frozenset()
    """Keys of a query that find few documents."""
    columns: frozenset[str] = frozenset()
    """Root fields that are columns too (`migrations/`): queries name these, so that an index answers them."""
    indexed: Mapping[str, str] = field(default_factory=dict)
    """Nested paths that are columns too, each with its column's name."""
    hidden: str = "hidden"
    """System tag of documents that are listed only when they are asked for."""
    shown_by: frozenset[str] = frozenset({"search_hidden", "id"})
    """Keys of a query that ask for hidden documents too."""


def _fields(values: str, lists: str = "", objects: str = "") -> dict[str, Shape]:
    return {
        **dict.fromkeys(values.split(), Shape.VALUE),
        **dict.fromkeys(lists.split(), Shape.LIST),
        **dict.fromkeys(objects.split(), Shape.OBJECT),
    }


TASK = Kind(
    table="task",
    label="Task",
    subcode=101,
    unknown="Invalid task id: id={id}, company={company}",
    guarded="task(s)",
    fields=_fields(
        "id company company_origin user name type status status_reason status_message status_changed comment report "
        "created started completed published active_duration parent project last_update last_change last_changed_by "
        "last_worker last_worker_report last_iteration enqueue_status stop_asked",
        "tags system_tags report_assets unique_metrics",
        "output execution container script last_metrics metric_stats hyperparams configuration runtime models input",
    ),
    references={
        "company": "company",
        "user": "user",
        "project": "project",
        "parent": "task",
        "execution.queue": "queue",
        "models.input.model": "model",
        "models.output.model": "model",
    },
    arrays=frozenset({"models.input", "models.output", "execution.artifacts"}),
    patterns=frozenset({"name", "comment", "report"}),
    choices=frozenset({
        "id", "user", "type", "status", "project", "parent", "tags", "system_tags",
        "execution.queue", "models.input.model", "models.output.model",
    }),
    dates=frozenset({"status_changed", "last_update", "last_change"}),
    ranges={
        "created": Scale.TIME,
        "started": Scale.TIME,
        "last_iteration": Scale.NUMBER,
        "active_duration": Scale.NUMBER,
    },
    dynamic={"hyperparams": 4, "configuration": 3, "runtime": 0},
    bad_path="invalid task field",
    text=("name", "id", "comment", "type", "tags"),
    concealed=frozenset({"company_origin", "unique_metrics", "enqueue_status", "stop_asked"}),
    coarse=frozenset({"status", "type"}),
    selective=frozenset({"id", "project", "parent", "name", "_all_"}),
    columns=frozenset({
        "project", "company", "user", "parent", "name", "comment", "type", "status", "created", "started", "completed",
        "status_changed", "last_update", "last_iteration", "tags", "system_tags",
    }),
    indexed={".".join(CACHE_HASH): "field_cache_hash"},
)  # fmt: skip

MODEL = Kind(
    table="model",
    label="Model",
    subcode=201,
    unknown="Invalid model id: company={company}, id={id}",
    fields=_fields(
        "id company company_origin user name comment created project task parent uri framework ready last_update "
        "last_change last_changed_by last_iteration",
        "tags system_tags unique_metrics",
        "design labels metadata ui_cache last_metrics stats",
    ),
    references={"company": "company", "user": "user", "project": "project", "task": "task", "parent": "model"},
    patterns=frozenset({"name", "comment"}),
    choices=frozenset({"id", "user", "project", "task", "parent", "framework", "uri", "tags", "system_tags"}),
    flags=frozenset({"ready"}),
    dates=frozenset({"last_update", "last_change"}),
    ranges={"created": Scale.TIME, "last_iteration": Scale.NUMBER},
    dynamic={"metadata": 3},
    text=("name", "id", "comment", "uri", "framework", "tags"),
    columns=frozenset({"project"}),
    concealed=frozenset({"company_origin", "unique_metrics", "ui_cache"}),
)

PROJECT = Kind(
    table="project",
    label="Project",
    subcode=401,
    unknown="Invalid project id: id={id}",
    guarded="project(s)",
    fields=_fields(
        "id company company_origin user name basename description created last_update default_output_destination "
        "parent featured",
        "tags system_tags path",
    ),
    references={"company": "company", "user": "user", "parent": "project"},
    patterns=frozenset({"name", "basename", "description"}),
    choices=frozenset({"id", "user", "parent", "tags", "system_tags"}),
    ranges={"last_update": Scale.TIME},
    text=("name", "id", "description", "tags"),
    concealed=frozenset({"company_origin", "path"}),
)

QUEUE = Kind(
    table="queue",
    label="Queue",
    subcode=701,
    unknown="Invalid queue id: id={id}, company={company}",
    fields=_fields("id company name display_name user created last_update", "tags system_tags", "entries metadata"),
    references={"company": "company", "user": "user", "entries.task": "task"},
    arrays=frozenset({"entries"}),
    patterns=frozenset({"name"}),
    choices=frozenset({"id", "tags", "system_tags", "entries.task"}),
    dynamic={"metadata": 3},
    text=("name", "id", "display_name", "tags"),
    expanded=("entries.task.name",),
    whole=True,
    hidden="k8s-glue",
    shown_by=frozenset({"search_hidden", "id", "name"}),
)

USER = Kind(
    table="user",
    label="User",
    subcode=301,
    unknown="Invalid user id: id={id}, company={company}",
    fields=_fields(
        "id company name given_name family_name email avatar role created created_in_version", "", "preferences"
    ),
    references={"company": "company"},
    patterns=frozenset({"name", "email"}),
    choices=frozenset({"id", "role"}),
    concealed=frozenset({"preferences", "created_in_version", "role", "email"}),
)

WORKER = Kind(
    table="worker",
    label="Worker",
    subcode=1001,
    unknown="Invalid worker id: id={id}, company={company}",
    fields=_fields(
        "id company user ip task queue register_time register_timeout last_activity_time last_report_time",
        "tags system_tags queues",
    ),
    choices=frozenset({"tags", "system_tags"}),
)

KINDS: Mapping[str, Kind] = {kind.table: kind for kind in (TASK, MODEL, PROJECT, QUEUE, USER, WORKER)}
