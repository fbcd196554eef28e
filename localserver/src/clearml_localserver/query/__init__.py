"""ClearML's query language over the stored documents.

One compiler for `get_all` and `get_all_ex` of every kind of document; endpoints call the functions below. This
package never talks HTTP and changes nothing; what the kinds differ in is told by the tables of `kinds`.
"""

from __future__ import annotations

from clearml_localserver.query.clauses import (
    Clause,
    all_of,
    in_company,
    listed,
    only_company,
    stored,
    tagged,
    untagged,
)
from clearml_localserver.query.finder import (
    Page,
    by_id,
    condition,
    count,
    find_all,
    find_all_ex,
    find_by_ids_ex,
    matching,
    public_only,
    render,
    unknown,
)

__all__ = [
    "Clause",
    "Page",
    "all_of",
    "by_id",
    "condition",
    "count",
    "find_all",
    "find_all_ex",
    "find_by_ids_ex",
    "in_company",
    "listed",
    "matching",
    "only_company",
    "public_only",
    "render",
    "stored",
    "tagged",
    "unknown",
    "untagged",
]
