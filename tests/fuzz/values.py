"""Bodies from request schemas, with some of their values replaced by what no client should send."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

Schema = dict[str, Any]

MOST_DEPTH = 5
SPOIL = [0.0, 0.01, 0.03, 0.1, 0.3]
"""How often a value of a request is replaced, and each of its fields and items again: one of these for each request."""

EVENT_TYPES = ["training_stats_scalar", "training_stats_vector", "training_debug_image", "plot", "log"]

LIKELY = {
    "type": [
        "training_stats_scalar",
        "training_stats_vector",
        "training_debug_image",
        "plot",
        "log",
        "training",
        "custom",
    ],
    "metric": ["m", "p", ""],
    "metrics": ["m", "p"],
    "variant": ["v", "i", ""],
    "variants": ["v", "i"],
    "section": ["Args", "General"],
    "key": ["a", "k", "iter", "timestamp", "iso_time"],
    "name": ["a name", "a", "c", "model"],
    "status": ["created", "in_progress", "completed", "published"],
    "entity_type": ["task", "model", "project"],
    "msg": ["a line"],
    "value": ["1", "x"],
    "email": ["a@example.org"],
    "order": ["asc", "desc"],
}
"""What a field of this name usually holds: without it few requests would come past the first check."""

WORDS = [
    *("", " ", "a", "x" * 300, "default", "created", "published", "training", "Args/a", "a.b.c", "a/b/c", "..", "\0"),
    *(
        "\ud800",
        "\udfff\ud800",
        "\N{GRINNING FACE}",
        "é",
        "e\u0301",
        "\u202e",
        "a\nb\r\nc\td",
        '"',
        "'",
        "\\",
        "%",
        "%22",
    ),
    *("[", "(", "(a+)+$", "*", "^.*$", "(?i)A", "a{100000}", "\\", "__$all", "__$not", "__$or", "$and", "-", "-name"),
    *("-last_metrics.a.b.max_value", "hyperparams.Args.a", "last_metrics", "execution.queue.name", "_all_", "_any_"),
    *(
        "hyperparams.*",
        "project.name.x",
        "id",
        "name",
        "status",
        "company",
        "runtime",
        "models.input",
        "'; DROP--",
        "{{x}}",
    ),
    *(">=2020-01-01", ">=x", "<", "2024-13-45T99:99:99", "2024-01-01T00:00:00Z", "9999-12-31T23:59:59.999999+14:00"),
    *(
        "0",
        "-1",
        "1e999",
        "NaN",
        "null",
        "true",
        "0x10",
        "1_000",
        "٣",
        "<b>x</b>",
        "http://[bad",
        "s3://b/k",
        "file:///",
    ),
    *("__DELETED__x", "training_stats_scalar", "training_debug_image", "plot", "log", "iter", "timestamp", "iso_time"),
]
"""Half of a pair of code units, patterns that search for ever, operators, fields, times, numbers, markup."""

NUMBERS = [
    *(0, 1, -1, 2, 10, 100, 500, 501, 2**31 - 1, 2**31, -(2**31), 2**53, 2**63 - 1, 2**63, -(2**63) - 1, 2**64, 10**30),
    *(0.5, -0.0, 1e308, 1.7976931348623157e308, 5e-324, 1e-300, 253402300800, 253402300800000, -62135596801, 1e18),
]


EVENT: Schema = {
    "type": "object",
    "required": ["type", "task"],
    "properties": {
        **{name: {"type": "string"} for name in ("type", "task", "metric", "variant", "key", "url", "msg", "plot_str")},
        **{name: {"type": "integer"} for name in ("timestamp", "iter")},
        "value": {"type": ["number", "number", "string"]},
        "values": {"type": "array", "items": {"type": "number"}},
        "model_event": {"type": "boolean"},
        "allow_locked": {"type": "boolean"},
    },
}
"""What `events.add` and a line of `events.add_batch` hold: the SDK's schema leaves it open."""


def odd_values(random: random.Random, ids: Sequence[str]) -> Any:
    """Return a value that a field may not be ready for."""
    makers: list[Callable[[], Any]] = [
        lambda: None,
        lambda: random.choice([True, False]),
        lambda: random.choice(NUMBERS),
        lambda: random.choice(WORDS),
        lambda: random.choice(WORDS),
        lambda: random.choice(ids or WORDS),
        lambda: [],
        lambda: {},
        lambda: [random.choice(WORDS), random.choice(NUMBERS), None, [], {}],
        lambda: {random.choice(WORDS): random.choice(WORDS), random.choice(WORDS): random.choice(NUMBERS)},
        lambda: {"": {"": ""}},
        lambda: [random.choice([[], {}, None, "x", 1])] * random.choice([1, 2, 1001, 3000]),
        lambda: [random.choice(WORDS)] * random.choice([2, 600, 2100]),
        lambda: nested(random.choice([3, 40, 260, 600]), random.choice(["[", "{"])),
        lambda: random.choice("ab\0\ud800(") * random.choice([1000, 20_000]),
        lambda: [None, random.choice(NUMBERS)],
        lambda: [">=" + str(random.choice(NUMBERS)), "<=" + random.choice(WORDS)],
    ]
    return random.choice(makers)()


def nested(depth: int, kind: str) -> Any:
    """Return lists in lists, or objects in objects."""
    value: Any = 1
    for _ in range(depth):
        value = [value] if kind == "[" else {"a": value}
    return value


class Values:
    """Makes values by one request's schema.

    Args:
        random: Decides everything.
        schema: The request's schema, whose definitions its parts refer to.
        ids: Returns ids for a field of this name; ids of other kinds of objects among them.
    """

    def __init__(self, random: random.Random, schema: Schema, ids: Callable[[str], list[str]]) -> None:
        self._random = random
        self._schema = schema
        self._ids = ids
        self.spoil = random.choice(SPOIL)

    def body(self) -> dict[str, Any]:
        """Return the body of a request."""
        made = self.of(self._schema, "", 0)
        body: dict[str, Any] = made if isinstance(made, dict) else {}
        if self._random.random() < self.spoil:
            names = [
                "_any_",
                "_all_",
                "filters",
                "order_by",
                "only_fields",
                "page",
                "size",
                "scroll_id",
                "x.y",
                "",
                "method",
            ]
            body[self._random.choice(names)] = self._query_part()
        return body

    def _query_part(self) -> Any:
        random = self._random
        fields = random.choice(
            [["name"], ["id", "comment"], ["name"] * 1001, ["hyperparams.Args.a"], [random.choice(WORDS)]]
        )
        parts: list[Any] = [
            {"fields": fields, "pattern": random.choice(WORDS)},
            {"fields": fields, "datetime": random.choice(WORDS)},
            {random.choice(["name", "tags", "last_metrics.a.b.value"]): {"any": ["a"], "all": [None], "op": "x"}},
            [random.choice(["name", "-name", "", *WORDS])] * random.choice([1, 2, 2100]),
        ]
        return random.choice([*parts, odd_values(random, self._ids(""))])

    def of(self, schema: Schema, name: str, depth: int) -> Any:
        """Return a value for the field `name` of this schema."""
        random = self._random
        if depth and random.random() < self.spoil:
            return odd_values(random, self._ids(""))
        if "$ref" in schema:
            schema = self._schema.get("definitions", {}).get(schema["$ref"].rpartition("/")[2], {})
        for choice in ("oneOf", "anyOf"):
            if choice in schema:
                return self.of(random.choice(schema[choice]), name, depth + 1)
        if "enum" in schema:
            return random.choice(schema["enum"])
        kind = schema.get("type", random.choice(["string", "array", "object"]))
        kind = random.choice(kind) if isinstance(kind, list) else kind
        if depth > MOST_DEPTH:
            return None
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            count = random.choice([0, 1, 1, 1, 1, 2, 2, 3]) or schema.get("minItems", 0)
            return [self.of(schema.get("items", {}), name, depth + 1) for _ in range(count)]
        return self._single(kind, name)

    def _object(self, schema: Schema, depth: int) -> dict[str, Any]:
        random = self._random
        properties: dict[str, Schema] = schema.get("properties", {})
        required = schema.get("required", [])
        share = random.choice([0.1, 0.3, 0.8])
        made = {
            name: self.of(part, name, depth + 1)
            for name, part in properties.items()
            if random.random() < (0.98 if name in required else share)
        }
        further = schema.get("additionalProperties")
        if isinstance(further, dict) or not properties:
            for _ in range(random.choice([0, 1, 2])):
                part = further if isinstance(further, dict) else {}
                made[random.choice(["a", "Args", *WORDS])] = self.of(part, "", depth + 1)
        return made

    def _single(self, kind: str, name: str) -> Any:
        random = self._random
        if kind == "string":
            likely = self._ids(name) or LIKELY.get(name)
            return random.choice(likely) if likely and random.random() > self.spoil else random.choice(WORDS)
        if kind in ("integer", "number"):
            return random.choice([1, 2, 10, 100]) if random.random() < 0.7 else random.choice(NUMBERS)
        return random.choice([True, False]) if kind == "boolean" else None
