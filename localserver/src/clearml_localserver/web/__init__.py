"""The web pages: server-rendered views over the in-process API.

They call endpoints as any client does and never touch the store. `gate` decides which requests come in, `site` is what
pages share, `views` are the pages; `text`, `ansi`, `dag` and `runs` are pure. There is no build step: templates,
one style sheet and a few scripts, plus plotly.js as the plotly wheel carries it.
"""

from __future__ import annotations

from functools import partial

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from clearml_localserver.auth import Identity
from clearml_localserver.cross_origin import is_cross_origin, is_navigation
from clearml_localserver.web.environment import make_environment
from clearml_localserver.web.request_guard import Gate
from clearml_localserver.web.site import Site, View
from clearml_localserver.web.views import (
    actions,
    activity,
    bulk,
    compare,
    console,
    dataset_version,
    datasets,
    endpoints,
    launch,
    lineage,
    links,
    lists,
    metrics,
    model_edit,
    pipeline_run,
    pipelines,
    project_edit,
    project_table,
    projects,
    queue_changes,
    queues,
    report_edit,
    reports,
    rerun,
    samples,
    search,
    session,
    settings,
    task_edit,
    tasks,
    worker,
)
from clearml_localserver.wire import Api

PAGES: dict[str, View] = {
    "/search": search.search,
    "/activity": activity.activity,
    "/activity/followed": activity.followed,
    "/projects": projects.projects,
    "/projects/new": project_edit.new,
    "/projects/{project}": projects.project,
    "/projects/{project}/edit": project_edit.form,
    "/projects/{project}/delete": project_edit.confirm,
    "/projects/{project}/columns": project_table.choose,
    "/projects/{project}/tasks.csv": project_table.as_csv,
    "/projects/{project}/tasks.json": project_table.as_json,
    "/projects/{project}/models": projects.project_models,
    "/models/{model}": projects.model,
    "/lineage/{item:path}": lineage.lineage,
    "/endpoints": endpoints.endpoints,
    "/endpoints/{url:path}": endpoints.endpoint,
    "/pipelines": pipelines.pipelines,
    "/pipelines/{project}": pipelines.pipeline,
    "/datasets": datasets.datasets,
    "/datasets/{project}": datasets.dataset,
    "/reports": reports.reports,
    "/reports/{report}": reports.report,
    "/reports/{report}/edit": report_edit.form,
    "/reports/{report}/export": reports.export,
    "/reports/{report}/{action}": reports.confirm,
    "/queues": queues.queues,
    "/queues/{queue}/edit": queue_changes.edit,
    "/queues/{queue}/{change}": queue_changes.confirm,
    "/workers": queues.workers,
    "/workers/{worker:path}": worker.worker,
    "/selected/tasks/{action}": bulk.confirm,
    "/selected/models/{action}": bulk.confirm,
    "/models/{model}/edit": model_edit.form,
    "/compare": compare.compare,
    "/compare/models": compare.models,
    "/compare/scalars": compare.scalars_data,
    "/tasks/{task}": pipeline_run.first_tab,
    "/tasks/{task}/overview": tasks.overview,
    "/tasks/{task}/parameters": tasks.parameters,
    "/tasks/{task}/artifacts": tasks.artifacts,
    "/tasks/{task}/pipeline": pipeline_run.pipeline,
    "/tasks/{task}/dataset": dataset_version.dataset,
    "/tasks/{task}/console": console.console,
    "/tasks/{task}/console/lines": console.console_lines,
    "/tasks/{task}/console/text": console.console_text,
    "/tasks/{task}/scalars": metrics.scalars,
    "/tasks/{task}/scalars/data": metrics.scalars_data,
    "/tasks/{task}/plots": metrics.plots,
    "/tasks/{task}/samples": samples.samples,
    "/tasks/{task}/run": launch.form,
    "/tasks/{task}/edit": task_edit.form,
    "/tasks/{task}/rerun": rerun.confirm,
    "/tasks/{task}/{action}": actions.confirm,
    # What the genuine ClearML calls these pages, and the SDK prints.
    "/projects/{project}/experiments": links.project_link,
    "/projects/{project}/tasks": links.project_link,
    "/projects/{project}/overview": links.project_link,
    "/projects/{project}/experiments/{task}": links.task_link,
    "/projects/{project}/experiments/{task}/{rest:path}": links.task_link,
    "/projects/{project}/tasks/{task}": links.task_link,
    "/projects/{project}/tasks/{task}/{rest:path}": links.task_link,
    "/projects/{project}/models/{model}": links.model_link,
    "/projects/{project}/models/{model}/{rest:path}": links.model_link,
    "/pipelines/{project}/experiments/{task}": links.task_link,
    "/pipelines/{project}/experiments/{task}/{rest:path}": links.task_link,
    "/pipelines/{project}/tasks/{task}": links.task_link,
    "/pipelines/{project}/tasks/{task}/{rest:path}": links.task_link,
    "/datasets/simple/{project}/experiments/{task}": links.task_link,
    "/datasets/simple/{project}/experiments/{task}/{rest:path}": links.task_link,
    "/datasets/simple/{project}/tasks/{task}": links.task_link,
    "/projects/{project}/compare-{kind};ids={ids:path}": links.comparison_link,
    "/compare-{kind};ids={ids:path}": links.comparison_link,
    "/dashboard": links.leads_to("/"),
    "/workers-and-queues": links.leads_to("/workers"),
    "/workers-and-queues/{rest:path}": links.workers_link,
    "/models": links.leads_to("/projects/*/models"),
    "/settings": settings.overview,
    "/settings/keys/{key}/edit": settings.edit_key,
    "/settings/keys/{key}/revoke": settings.ask_to_revoke,
    "/settings/people/{user}/edit": settings.edit_person,
    "/settings/people/{user}/delete": settings.ask_to_delete,
    "/settings/{rest:path}": session.settings,
}

OPEN_PAGES: dict[str, View] = {"/": session.front, "/login": session.form, "/static/{name}": session.static}
OPEN_CHANGES: dict[str, View] = {"/login": session.login, "/logout": session.logout}
"""What needs no session, or makes and ends one."""

OWN_CHANGES: dict[str, View] = {
    "/preferences/theme": settings.set_theme,
    "/preferences/density": project_table.set_density,
    "/projects/{project}/views": project_table.save_view,
    "/activity/seen": activity.seen,
    "/tasks/{task}/follow": activity.follow,
}
"""What changes only how the person sees the pages: readers may do it too."""

CHANGES: dict[str, View] = {
    "/settings/keys": settings.create_key,
    "/settings/keys/{key}/edit": settings.save_key,
    "/settings/keys/{key}/revoke": settings.revoke,
    "/settings/people": settings.create_person,
    "/settings/people/{user}/edit": settings.save_person,
    "/settings/people/{user}/delete": settings.delete_person,
    "/projects": project_edit.create,
    "/projects/{project}/edit": project_edit.save,
    "/projects/{project}/delete": project_edit.delete,
    "/selected/tasks/{action}": bulk.act,
    "/selected/models/{action}": bulk.act,
    "/models/{model}/edit": model_edit.save,
    "/reports": reports.create,
    "/reports/{report}/edit": report_edit.save,
    "/reports/{report}/{action}": reports.act,
    "/queues": queue_changes.create,
    "/queues/{queue}/edit": queue_changes.rename,
    "/queues/{queue}/move": queue_changes.move,
    "/queues/{queue}/{change}": queue_changes.act,
    "/queues/{queue}/entries/{task}/{move}": queues.move_entry,
    "/tasks/{task}/run": launch.launch,
    "/tasks/{task}/edit": task_edit.save,
    "/tasks/{task}/rerun": rerun.start,
    "/tasks/{task}/{action}": actions.act,
}


def create_web_app(api: Api, own: Identity, files: ASGIApp) -> Starlette:
    """Return the web application.

    Args:
        api: The API that the pages call.
        own: For whom the pages act on a loopback address, where they ask for no log-in.
        files: The file server without its own access check; the pages let it be read by those who may see them.
    """
    site = Site(api, own, files)
    site.templates.globals.update(actions_of=actions.actions_of, undo_of=bulk.undo_of, queue_names=lists.queue_names)
    routes: list[BaseRoute] = [
        *(Route(path, site.open_view(view), methods=["GET"]) for path, view in OPEN_PAGES.items()),
        *(Route(path, site.open_view(view), methods=["POST"]) for path, view in OPEN_CHANGES.items()),
        *(Route(path, site.view(view), methods=["POST"]) for path, view in OWN_CHANGES.items()),
        *(Route(path, site.change(view), methods=["POST"]) for path, view in CHANGES.items()),
        *(Route(path, site.view(view), methods=["GET"]) for path, view in PAGES.items()),
        Mount("/files", app=_ForReaders(site, files)),
    ]

    async def missing(request: Request, problem: Exception) -> Response:
        code = getattr(problem, "status_code", 404)
        return await site.answer(request, partial(session.missing, code=code, text=str(problem)))

    errors = {404: missing, 405: missing}
    return Starlette(routes=routes, middleware=[Middleware(Gate, settings=site.settings)], exception_handlers=errors)


def address_too_long(most: int) -> bytes:
    """Return the page for an address of more than `most` bytes, which is refused before any page is asked."""
    page = make_environment(lambda name: f"/static/{name}").get_template("address_too_long.html")
    return page.render(most=f"{most:,}", theme="").encode()


class _ForReaders:
    """Lets signed-in people read files; writing is not possible here.

    On a loopback address everybody is signed in: what a page of another origin asks for in the background is refused.
    """

    def __init__(self, site: Site, files: ASGIApp) -> None:
        self.site = site
        self.files = files

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app: ASGIApp = self.files
        if scope["method"] not in ("GET", "HEAD"):
            app = PlainTextResponse("Files are only read here.\n", status_code=405)
        elif is_cross_origin(headers := Headers(scope=scope)) and not is_navigation(headers):
            app = PlainTextResponse("Only pages of this server may use its files.\n", status_code=403)
        elif self.site.identity(Request(scope)) is None:
            app = PlainTextResponse("Log in first.\n", status_code=401)
        await app(scope, receive, send)
