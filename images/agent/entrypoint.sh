#!/bin/bash
# What the clearml-agent chart starts in the agent pod: the Kubernetes glue, with the chart's own variables.
# Nothing is installed at start: CLEARML_AGENT_UPDATE_VERSION is what this image was built with, or the pod says so and
# ends (glue.py checks).
set -eu
# A queue's name may begin with a dash, so it is one word with its option. K8S_GLUE_EXTRA_ARGS is a command line, so it
# is split into words.
# shellcheck disable=SC2086
exec /opt/agent/bin/python -u /opt/agent/glue.py \
    --queue="${K8S_GLUE_QUEUE:-k8s_glue}" \
    ${K8S_GLUE_MAX_PODS:+--max-pods "$K8S_GLUE_MAX_PODS"} \
    ${K8S_GLUE_EXTRA_ARGS:-}
