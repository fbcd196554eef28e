"""Use case "upload a dataset": a review file becomes version 1.0 (empty) and one child version per batch of rows.

It can be stopped at any moment and run again: what is complete is recognised by its content and left alone, what was
begun is removed and made again. Nothing is published before the whole file has been read once, so a file with too many
bad rows leaves no half dataset behind. It must not read rows itself (`pipeline.amazon_reviews.reviews.review_files`),
and an `Observer` is told what happens. Outside systems: the review file, the ClearML server through its adapters.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from clearml_access import locks
from pipeline import provenance
from pipeline.amazon_reviews.reviews import frames, plots
from pipeline.amazon_reviews.reviews.review_files import ReviewFile
from pipeline.amazon_reviews.upload_batches import Batch, prepared
from pipeline.clearml_server import ClearmlServer, DatasetVersion
from pipeline.datasets import datasets
from pipeline.datasets.lookup import DatasetStateError
from pipeline.versions import ROOT

CONTENT_FACT = "Upload/content_sha256"


class Observer(Protocol):
    """Is told how far an upload is."""

    def begin(self, text: str) -> None:
        """Take notice of the part of the work that begins."""

    def advance(self, share: float) -> None:
        """Take notice of the share of that part which is done."""

    def note(self, text: str) -> None:
        """Take notice of one thing in words."""


@dataclass
class Upload:
    """What an upload has come to."""

    made: dict[str, str] = field(default_factory=dict)
    """Version → id of what this run added."""
    kept: dict[str, str] = field(default_factory=dict)
    """Version → id of what was there already."""
    rows: int = 0
    bad_rows: int = 0
    quarantine: Path | None = None


def upload(
    server: ClearmlServer, reviews: ReviewFile, observer: Observer, *, project: str, name: str, batch_rows: int
) -> Upload:
    """Upload a review file.

    Raises:
        InputFileError: It is not a review file.
        BadRowsError: Too many of its rows are bad.
        DatasetStateError: The dataset holds other data, or another upload of it is running.
        OutputFileError: There is no room for a batch on this machine.
    """
    with _alone(server, project, name):
        observer.begin("Checking")
        for _ in reviews.batches(batch_rows):
            observer.advance(reviews.summary.bytes_read / max(reviews.size, 1))
        summary = copy.copy(reviews.summary)
        result = Upload(rows=summary.rows, bad_rows=summary.bad, quarantine=summary.quarantine)
        for version in datasets.discard_unfinished(server, project, name):
            observer.note(f"version {version} was never finished: removed")
        existing = {item.version: item for item in server.dataset_versions(project, name) if item.final}
        parent = _ensure_root(server, existing, result, project, name)
        count = -(-summary.rows // batch_rows)
        observer.begin("Uploading")
        with prepared(reviews, batch_rows, existing) as batches:
            for batch in batches:
                found = existing.get(batch.version)
                parent = _ensure_batch(server, found, result, batch, parent, project=project, name=name)
                observer.advance(batch.number / count)
        return result


def _ensure_root(
    server: ClearmlServer, existing: dict[str, DatasetVersion], result: Upload, project: str, name: str
) -> str:
    """Return the id of the empty first version, made if it is not there."""
    if ROOT in existing:
        result.kept[ROOT] = existing[ROOT].id
        return existing[ROOT].id
    description = "Empty root of all versions"
    with (
        _no_print(),
        datasets.new_version(
            server, project=project, name=name, version=ROOT, exact=True, description=description
        ) as draft,
    ):
        pass
    result.made[ROOT] = draft.id
    return draft.id


def _ensure_batch(
    server: ClearmlServer,
    found: DatasetVersion | None,
    result: Upload,
    batch: Batch,
    parent: str,
    *,
    project: str,
    name: str,
) -> str:
    """Return the id of the batch's version, made if it is not there.

    Raises:
        DatasetStateError: It is there and holds other rows.
    """
    if found is not None:
        _require_same(found, batch, name)
        result.kept[found.version] = found.id
        return found.id
    facts = {
        CONTENT_FACT: batch.content,
        "Upload/rows": len(batch.rows),
        "Upload/batch": batch.number,
        "Upload/batch_rows": batch.batch_rows,
        "Upload/source": batch.source,
        "Upload/package": provenance.PACKAGE_VERSION,
        "Upload/commit": provenance.commit(),
    }
    with (
        _no_print(),
        datasets.new_version(
            server,
            project=project,
            name=name,
            version=batch.version,
            exact=True,
            parents=[parent],
            description=f"Batch {batch.number} of {batch.source}: {len(batch.rows):,} reviews",
            facts=facts,
        ) as draft,
    ):
        draft.add(batch.csv, archive=batch.archive)
        draft.report_table("Preview", batch.csv.name, frames.preview(batch.rows))
        figure = plots.class_distribution({batch.csv.stem: batch.rows}, title=f"Classes of batch {batch.number}")
        draft.report_plot("Class distribution", "batch", figure)
    result.made[draft.version] = draft.id
    return draft.id


def _require_same(found: DatasetVersion, batch: Batch, name: str) -> None:
    known = found.facts.get(CONTENT_FACT)
    if known == batch.content:
        return
    was = found.facts.get("Upload/batch_rows")
    if known is None:
        cause = "it was not made by this upload"
    elif was != str(batch.batch_rows):
        cause = f"it was made with --batch-size {was}"
    else:
        cause = f"it was made from other rows ({found.facts.get('Upload/rows')} of {found.facts.get('Upload/source')})"
    raise DatasetStateError(
        f"version {found.version} of dataset {name!r} is not batch {batch.number} of {batch.source}: {cause}",
        hint=f"--batch-size {was}"
        if known and was != str(batch.batch_rows)
        else "upload under another name: --name ...",
    )


def _no_print() -> contextlib.redirect_stdout[io.StringIO]:
    """Swallow the addresses that the SDK prints for every version; the observer is told what matters."""
    return contextlib.redirect_stdout(io.StringIO())


@contextlib.contextmanager
def _alone(server: ClearmlServer, project: str, name: str) -> Iterator[None]:
    """Keep a second upload of the same dataset from this machine out: it would take our versions for dead ones."""
    key = hashlib.sha256("\0".join((server.api_url, project, name)).encode()).hexdigest()[:16]
    with locks.holding(Path(tempfile.gettempdir()) / f"clearml-upload-{key}.lock") as held:
        if not held:
            raise DatasetStateError(
                f"another upload of dataset {name!r} is running on this machine", hint="wait for it, or end it"
            )
        yield
