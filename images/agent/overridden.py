"""Which methods of the stock glue `pod_glue.Glue` replaces, each with the reason; a test compares this with both."""

from __future__ import annotations

OVERRIDDEN = {
    "_create_daemon_instance": "its thread enqueues tasks that run, and deletes pods before their end is recorded",
    "_get_used_pods": "the watch knows them: no question to the cluster in each round",
    "_get_pod_count": "likewise",
    "_cleanup_old_pods": "ended pods are deleted by the reconciler, after their end is on record",
    "_get_next_task": "takes nothing while the agent is to end, the cluster is away, or a quota is full",
    "run_one_task": "an exception in it ended the agent and left the task queued for ever",
    "_is_same_tenant": "False leaves out its move by way of `stopped`, which a controller may see; _hand_over moves",
    "_create_template_container": "knows `-e` and `--env` only, encodes as ASCII, and hides every exit code",
    "_safe_k8s_label_value": "leaves letters beyond ASCII, and a dash where it cuts: the cluster refuses such a pod",
    "_kubectl_apply": "takes each line on stderr for a failure of the task, and patches a pod that is ending",
}
