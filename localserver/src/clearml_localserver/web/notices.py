"""What pages say after a change. Pure."""

from __future__ import annotations

NOTICES = {
    "abort": "Abort requested. A worker stops the task within a few seconds.",
    "aborted": "Aborted.",
    "enqueue": "Enqueued.",
    "dequeue": "Taken out of the queue.",
    "reset": "Reset to a draft.",
    "clone": "Cloned. This is the copy.",
    "run": "New run enqueued. This is it.",
    "archive": "Archived.",
    "unarchive": "Taken out of the archive.",
    "moved": "Queue order changed.",
    "removed": "Taken out of the queue.",
    "created": "Created.",
    "publish": "Published.",
    "delete": "Deleted.",
    "saved": "Saved.",
    "revoked": "Revoked.",
    "seen": "Marked as seen.",
    "follow": "Followed.",
    "unfollow": "Followed no longer.",
    "archive-many": "Archived: {count}.",
    "restore-many": "Restored: {count}.",
    "enqueue-many": "Enqueued: {count}.",
    "dequeue-many": "Taken out of the queue: {count}.",
    "abort-many": "Abort requested: {count}. Workers stop their tasks within a few seconds.",
    "tag-many": "Tags changed: {count}.",
    "move-many": "Moved: {count}.",
    "reset-many": "Reset to drafts: {count}.",
    "publish-many": "Published: {count}.",
    "delete-many": "Deleted: {count}.",
    "view-kept": "The view is kept under “Views”.",
    "view-forgotten": "The view is forgotten.",
}
"""What a page says after a change, by the address's `notice`: fixed texts only, so that no link can put words here."""
