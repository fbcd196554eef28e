"""The parts of the API's replies that the pages read, by endpoint: everything they show passes one of these shapes.

`Visit.call` refuses an endpoint that is not listed here, so a new view cannot forget it.
"""

from __future__ import annotations

from clearml_localserver.web import form_fields
from clearml_localserver.web.api_words import in_words
from clearml_localserver.web.shapes import (
    Shape,
    as_it_is,
    cut_to,
    flag,
    line,
    lines,
    list_of,
    map_of,
    number,
    passage,
    record,
    reference,
    scalar,
    text,
    texts,
    values,
    with_hidden_credentials,
)

ALL = 2**63
"""For lists whose length is told, or that the API bounds."""

PARAMETER = record(value=text, type=line, description=passage)
ARTIFACT = record(
    key=line,
    type=line,
    mode=line,
    uri=text,
    hash=line,
    content_size=number,
    timestamp=as_it_is,
    type_data=record(preview=passage, content_type=line),
    display_data=list_of(lines),
)
LAST_VALUE = record(metric=line, variant=line, value=number, min_value=number, max_value=number)
LAST_METRICS = map_of(map_of(LAST_VALUE))
USED_MODEL = record(name=line, model=reference)
TASK = record(
    id=text,
    name=line,
    type=line,
    status=line,
    status_reason=passage,
    status_message=passage,
    status_changed=as_it_is,
    comment=passage,
    tags=lines,
    system_tags=texts,
    created=as_it_is,
    started=as_it_is,
    completed=as_it_is,
    last_update=as_it_is,
    last_iteration=number,
    last_worker=line,
    project=reference,
    parent=reference,
    user=reference,
    runtime=map_of(scalar),
    last_metrics=LAST_METRICS,
    hyperparams=map_of(map_of(PARAMETER), 20),
    configuration=map_of(PARAMETER, 200),
    script=record(
        **dict.fromkeys(("branch", "version_num", "tag", "binary", "entry_point", "working_dir"), line),
        repository=with_hidden_credentials(line),
        diff=with_hidden_credentials(text),
        requirements=map_of(with_hidden_credentials(text), 20),
    ),
    container=record(
        image=line,
        arguments=with_hidden_credentials(passage),
        setup_shell_script=with_hidden_credentials(text),
    ),
    output=record(destination=line),
    execution=record(queue=reference, artifacts=list_of(ARTIFACT)),
    models=record(input=list_of(USED_MODEL), output=list_of(USED_MODEL)),
)
STORED_TASK = record(
    script=record(**dict.fromkeys(form_fields.SCRIPT, text), requirements=map_of(text, 20)),
    container=record(**dict.fromkeys(form_fields.CONTAINER, text)),
)
"""What the form of a draft writes back: whole, with the credentials that pages hide."""

PROJECT = record(
    id=text,
    name=line,
    description=passage,
    tags=lines,
    system_tags=texts,
    last_update=as_it_is,
    stats=record(active=record(status_count=map_of(number))),
)
MODEL = record(
    id=text,
    name=line,
    uri=text,
    framework=line,
    comment=passage,
    ready=flag,
    created=as_it_is,
    tags=lines,
    system_tags=texts,
    project=reference,
    task=reference,
    labels=map_of(line),
    metadata=values(record(key=line, type=line, value=passage)),
    design=map_of(text, 20),
)
QUEUE = record(
    id=text,
    name=line,
    system_tags=texts,
    entries=list_of(record(task=reference, added=as_it_is), ALL),
    workers=list_of(record(name=line)),
)
WORKER = record(
    id=text,
    ip=line,
    task=reference,
    queues=list_of(record(id=text, name=line, num_tasks=number)),
    register_time=as_it_is,
    last_activity_time=as_it_is,
)
MACHINE = record(
    worker=text,
    metrics=list_of(
        record(metric=line, stats=list_of(record(aggregation=line, dates=list_of(number), values=list_of(number))))
    ),
)
COUNTED = record(dates=list_of(number), counts=list_of(number))
WAITED = record(queue=text, dates=list_of(number), avg_waiting_times=list_of(number), queue_lengths=list_of(number))
EVENT = record(timestamp=number, level=line, msg=text, metric=line, variant=line, iter=number, url=text, plot_str=text)
REPORT = record(
    id=text,
    name=line,
    status=line,
    comment=passage,
    tags=lines,
    system_tags=texts,
    created=as_it_is,
    last_update=as_it_is,
    project=reference,
    user=reference,
    report=text,
)
CURVE = record(x=list_of(scalar, ALL), y=list_of(number, ALL), low=list_of(number, ALL), high=list_of(number, ALL))
SINGLE = record(metric=line, variant=line, value=scalar)

ENDPOINT = record(
    endpoint=line,
    model=line,
    url=text,
    instances=number,
    requests=number,
    requests_min=number,
    latency_ms=number,
    last_update=as_it_is,
)
CONTAINER = record(
    id=line,
    requests=number,
    requests_min=number,
    latency_ms=number,
    uptime_sec=number,
    last_update=as_it_is,
    reference=list_of(record(type=text, value=text), 20),
)
ENDPOINT_DETAILS = record(
    endpoint=line,
    model=line,
    url=text,
    model_source=line,
    model_version=line,
    input_type=line,
    input_size=line,
    uptime_sec=number,
    instances=list_of(CONTAINER, 1_000),
)
CURVE_OF_DATES = record(dates=list_of(number, ALL), values=list_of(number, ALL))

ACCESS_KEY = record(access_key=line, label=line, role=line, user=line, last_used=as_it_is, last_used_from=line)
PERSON = record(id=text, name=line, role=line, created=as_it_is, company=reference)
MANY = record(
    succeeded=list_of(
        record(
            id=text,
            url=text,
            urls=record(**dict.fromkeys(("model_urls", "artifact_urls", "event_urls"), list_of(text, ALL))),
        )
    ),
    failed=list_of(record(id=text, error=record(msg=lambda value: in_words(passage(value))))),
)
"""Of a change to many: what became of each."""

CHANGED = record(id=text)
"""Of a change only the id of what was made is read."""

PREFERENCES = record(
    localserver=record(
        density=line,
        theme=line,
        seen=line,
        followed=list_of(text, 100),
        views=map_of(map_of(record(name=line, query=cut_to(20_000)), 200), 1000),
    )
)
"""What the pages keep for a person, beside what the genuine web application keeps."""

REPLIES: dict[str, Shape] = {
    "organization.get_tags": record(tags=list_of(line)),
    "organization.get_entities_count": record(tasks=number, models=number, reports=number),
    "projects.get_hyper_parameters": record(parameters=list_of(record(section=text, name=text))),
    "projects.get_hyperparam_values": record(values=list_of(text, ALL)),
    "projects.get_unique_metric_variants": record(metrics=list_of(record(metric=text, variant=text))),
    "auth.create_credentials": record(credentials=record(access_key=line, secret_key=line, label=line)),
    "auth.get_credentials": record(credentials=list_of(ACCESS_KEY)),
    "server.info": record(version=line, api_version=line),
    "users.get_all_ex": record(users=list_of(PERSON)),
    "users.get_current_user": record(user=PERSON),
    "users.get_preferences": record(preferences=PREFERENCES),
    "reports.get_all_ex": record(tasks=list_of(REPORT)),
    "reports.get_task_data": record(tasks=list_of(TASK), scalar_metrics_iter_histogram=map_of(map_of(map_of(CURVE)))),
    "reports.get_tags": record(tags=list_of(line)),
    "tasks.get_all_ex": record(tasks=list_of(TASK)),
    "tasks.get_by_id": record(task=STORED_TASK),
    "tasks.get_types": record(types=texts),
    "tasks.get_configurations": record(configurations=list_of(record(configuration=list_of(PARAMETER)))),
    "projects.get_all_ex": record(projects=list_of(PROJECT)),
    "projects.get_by_id": record(project=PROJECT),
    "projects.validate_delete": record(tasks=number, models=number, pipelines=number, datasets=number, reports=number),
    "models.get_all_ex": record(models=list_of(MODEL)),
    "models.get_by_id": record(model=MODEL),
    "queues.get_all": record(queues=list_of(QUEUE)),
    "queues.get_all_ex": record(queues=list_of(QUEUE)),
    "queues.get_queue_metrics": record(queues=list_of(WAITED)),
    "workers.get_activity_report": record(total=COUNTED, active=COUNTED),
    "workers.get_all": record(workers=list_of(WORKER)),
    "workers.get_stats": record(workers=list_of(MACHINE)),
    "serving.get_endpoints": record(endpoints=list_of(ENDPOINT)),
    "serving.get_loading_instances": record(
        instances=list_of(record(id=line, endpoint=line, model=line, last_update=as_it_is))
    ),
    "serving.get_endpoint_details": ENDPOINT_DETAILS,
    "serving.get_endpoint_metrics_history": record(total=CURVE_OF_DATES),
    "events.get_task_log": record(events=list_of(EVENT, ALL), total=number, searched_to=number, more=flag),
    "events.get_task_metrics": record(metrics=list_of(record(metrics=texts))),
    "events.get_task_plots": record(plots=list_of(EVENT)),
    "events.get_task_single_value_metrics": record(tasks=list_of(record(values=list_of(SINGLE)))),
    "events.get_multi_task_metrics": record(metrics=list_of(record(metric=line, variants=list_of(line)))),
    "events.get_multi_task_plots": record(plots=map_of(map_of(map_of(map_of(record(plots=list_of(EVENT))))))),
    "events.multi_task_scalar_metrics_iter_histogram": record(metrics=map_of(map_of(map_of(CURVE)))),
    "events.debug_images": record(
        metrics=list_of(record(task=text, iterations=list_of(record(iter=number, events=list_of(EVENT)))))
    ),
    "events.scalar_metrics_iter_histogram": map_of(map_of(CURVE)),
    **dict.fromkeys(
        (
            "models.archive_many",
            "models.delete_many",
            "models.publish_many",
            "models.unarchive_many",
            "tasks.archive_many",
            "tasks.delete_many",
            "tasks.dequeue_many",
            "tasks.enqueue_many",
            "tasks.publish_many",
            "tasks.reset_many",
            "tasks.stop_many",
            "tasks.unarchive_many",
        ),
        MANY,
    ),
    **dict.fromkeys(
        (
            "auth.create_user",
            "models.edit",
            "models.move",
            "models.update_tags",
            "auth.edit_credentials",
            "auth.edit_user",
            "auth.logout",
            "auth.revoke_credentials",
            "tasks.archive",
            "tasks.clone",
            "tasks.delete",
            "tasks.delete_configuration",
            "tasks.delete_hyper_params",
            "tasks.dequeue",
            "tasks.edit",
            "tasks.edit_configuration",
            "tasks.edit_hyper_params",
            "tasks.publish",
            "tasks.update",
            "tasks.move",
            "tasks.enqueue",
            "tasks.reset",
            "tasks.stop",
            "tasks.stopped",
            "tasks.update_tags",
            "users.delete",
            "users.set_preferences",
            "users.update",
            "projects.create",
            "projects.delete",
            "projects.move",
            "projects.update",
            "queues.add_task",
            "queues.clear_queue",
            "queues.create",
            "queues.delete",
            "queues.update",
            "queues.move_task_backward",
            "queues.move_task_forward",
            "queues.move_task_to_back",
            "queues.move_task_to_front",
            "queues.remove_task",
            "reports.archive",
            "reports.create",
            "reports.delete",
            "reports.move",
            "reports.publish",
            "reports.unarchive",
            "reports.update",
        ),
        CHANGED,
    ),
}
