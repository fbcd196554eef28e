"""What ended since a person last looked, and the runs that a person follows."""

from __future__ import annotations

from starlette.responses import Response

from clearml_localserver.errors import ApiError
from clearml_localserver.times import iso
from clearml_localserver.web import text
from clearml_localserver.web.site import Visit
from clearml_localserver.web.views.lists import find_tasks, task_page
from clearml_localserver.web.views.personal import ENDED, last_look, newest, preferences
from clearml_localserver.web.views.session import own_path

MOST_FOLLOWED = 100


def activity(visit: Visit) -> Response:
    """List what ended, failed or was published since the person last looked, and what the person follows."""
    kept = preferences(visit)
    since = last_look(visit, kept)
    query = {"status": list(ENDED), "status_changed": [f">{iso(since)}"], "order_by": ["-status_changed"]}
    query["system_tags"] = ["-archived"]
    ids = list(kept["followed"])
    page = task_page(visit, query)
    return visit.render(
        "activity.html",
        live=True,
        section="/",
        since=since,
        until=newest(page.items) if page.number == 1 else "",
        page=page,
        followed=find_tasks(visit, {"id": ids}, size=MOST_FOLLOWED) if ids else [],
        has_looked=bool(kept["seen"]),
    )


def seen(visit: Visit) -> Response:
    """Remember that the person has seen what had ended when the page was made."""
    form = visit.form()
    until = text.moment(form.get("until", ""))
    if until is None:
        raise ApiError(400, 0, "The form does not say until when things were seen; open the page again")
    visit.call("users.set_preferences", {"preferences": {"localserver.seen": iso(min(until, visit.now))}})
    return visit.redirect(own_path(form.get("back", "/")), "seen")


def follow(visit: Visit) -> Response:
    """Follow a run, or follow it no longer."""
    id_, form = visit.argument("task"), visit.form()
    ids = [known for known in preferences(visit)["followed"] if known != id_]
    wanted = bool(form.get("follow"))
    if wanted:
        if not find_tasks(visit, {"id": [id_]}, size=1, fields=["name"]):
            raise ApiError(400, 101, f"There is no task with the id {id_}")
        ids = [*ids, id_][-MOST_FOLLOWED:]
    visit.call("users.set_preferences", {"preferences": {"localserver.followed": ids}})
    return visit.redirect(own_path(form.get("back", f"/tasks/{id_}")), "follow" if wanted else "unfollow")


def followed(visit: Visit) -> Response:
    """Return the followed runs with their status, for the script that tells when one ends. It changes nothing."""
    ids = list(preferences(visit)["followed"])
    tasks = find_tasks(visit, {"id": ids}, size=MOST_FOLLOWED, fields=["name", "status"]) if ids else []
    return visit.json(
        [
            {"id": task["id"], "name": task["name"][:200], "status": text.status(task["status"]).name,
             "ended": task["status"] in ENDED}
            for task in tasks
        ]
    )  # fmt: skip
