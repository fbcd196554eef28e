# A task image with the packages of somebody's own project: `python -m images.build --project DIR` (images/project.py).
#
# Build options: TASK_BASE, the target `task-base` of images/Dockerfile; INDEX_URL, S3 and the secret `ca` as there; SDK, the
# version of clearml for a project that does not name it; PYTHON, that of the steps. If the base has another, uv fetches
# it, from PYTHON_MIRROR or by the list PYTHON_DOWNLOADS where GitHub is not reached. The build context `project` has what
# the packages are read from, and in `source` the project itself if its package is to be in the image.
ARG TASK_BASE


FROM ${TASK_BASE} AS project-environment
USER root
ARG INDEX_URL=https://pypi.org/simple
# Without compiled bytecode every import is 3 to 5 times slower, at every start of every step.
ENV PIP_INDEX_URL=${INDEX_URL} UV_DEFAULT_INDEX=${INDEX_URL} UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
COPY images/build-tools.txt /tmp/
RUN python3 -m venv /opt/build && \
    /opt/build/bin/pip install --quiet --no-cache-dir --require-hashes --requirement /tmp/build-tools.txt
ENV PATH=/opt/build/bin:${PATH}
ARG PYTHON=""
ARG PYTHON_MIRROR=""
ARG PYTHON_DOWNLOADS=""
# Apart from the agent's Python: neither finds the other's packages, and no `python3` on the path is replaced.
RUN mkdir -p /opt/python && base="$(command -v /usr/local/bin/python3 || echo /usr/bin/python3)" && \
    found="$("$base" -c 'import platform; print(".".join(platform.python_version_tuple()[:2]))')" && \
    if [ "${PYTHON:-$found}" = "$found" ]; then echo "$base" >/tmp/python; else \
        export UV_PYTHON_DOWNLOADS=manual UV_PYTHON_INSTALL_DIR=/opt/python; \
        if [ -n "$PYTHON_MIRROR" ]; then export UV_PYTHON_INSTALL_MIRROR="$PYTHON_MIRROR"; fi; \
        if [ -n "$PYTHON_DOWNLOADS" ]; then export UV_PYTHON_DOWNLOADS_JSON_URL="$PYTHON_DOWNLOADS"; fi; \
        uv python install --no-bin "$PYTHON" && uv python find --managed-python "$PYTHON" >/tmp/python || \
        { echo "Python $PYTHON could not be fetched: --python-mirror and --python-list name another place"; exit 1; }; \
    fi
COPY --from=project . /project
WORKDIR /project
RUN uv venv --quiet --python "$(cat /tmp/python)" /opt/step && \
    if [ -f uv.lock ]; then \
        uv export --quiet --frozen --no-default-groups --no-emit-workspace --output-file requirements.txt; \
    elif [ ! -f requirements.txt ]; then \
        uv pip compile --quiet --python /opt/step/bin/python --output-file requirements.txt pyproject.toml; \
    fi && \
    uv pip install --quiet --no-cache --python /opt/step/bin/python --requirement requirements.txt
# Not empty: with what the SDK needs for S3.
ARG S3=""
RUN if [ -n "$S3" ]; then uv pip install --quiet --no-cache --python /opt/step/bin/python "boto3>=1.34"; fi
# What each step needs: the SDK, and the pip that the agent asks for before it (images/task/pip_shim.py answers it).
ARG SDK
RUN { /opt/step/bin/python -c "import clearml" 2>/dev/null || \
        uv pip install --quiet --no-cache --python /opt/step/bin/python "clearml==${SDK}"; } && \
    uv pip install --quiet --no-cache --python /opt/step/bin/python packaging "setuptools<81" \
        "pip<20.2 ; python_version < '3.10'" \
        "pip<22.3 ; python_version >= '3.10' and python_version <= '3.11'" \
        "pip>=23,<24.3 ; python_version >= '3.12'"
RUN if [ -d source ]; then \
        uv pip install --quiet --no-cache --python /opt/step/bin/python --no-deps ./source && \
        # Without the folder it came from in its record, the agent lists it by name and version.
        rm -f /opt/step/lib/python3.*/site-packages/*.dist-info/direct_url.json; \
    fi
COPY images/strip_comments.py /tmp/
RUN /opt/step/bin/python -W ignore /tmp/strip_comments.py
COPY --chmod=0755 images/task/step-python images/task/pip_shim.py clearml_access/kept_packages.py /opt/step/bin/
COPY --chmod=0644 pipeline/sdk/at_start/sitecustomize.py /opt/step/at_start/


FROM ${TASK_BASE} AS project
COPY --from=project-environment /opt/python /opt/python
COPY --from=project-environment --chown=1000:1000 /opt/step /opt/step
ARG VERSION=0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="clearml-pods-project" \
      org.opencontainers.image.description="Runs ClearML steps of a project: its packages, clearml-agent beside them" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
