# A task image with the packages of somebody's own project: `python -m images.build --project DIR` (images/project.py).
#
# Build options: TASK_BASE, the target `task-base` of images/Dockerfile; INDEX_URL and the secret `ca` as there; SDK, the
# version of clearml for a project that does not name it. The build context `project` has what the packages are read
# from, and in `source` the project itself if its package is to be in the image.
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
COPY --from=project . /project
WORKDIR /project
RUN uv venv --quiet --python "$(command -v /usr/local/bin/python3 || echo /usr/bin/python3)" /opt/step && \
    if [ -f uv.lock ]; then \
        uv export --quiet --frozen --no-default-groups --no-emit-workspace --output-file requirements.txt; \
    elif [ ! -f requirements.txt ]; then \
        uv pip compile --quiet --python /opt/step/bin/python --output-file requirements.txt pyproject.toml; \
    fi && \
    uv pip install --quiet --no-cache --python /opt/step/bin/python --requirement requirements.txt
# What each step needs: the SDK, and the pip that the agent asks for before it (images/task/pip_shim.py answers it).
ARG SDK
RUN { /opt/step/bin/python -c "import clearml" 2>/dev/null || \
        uv pip install --quiet --no-cache --python /opt/step/bin/python "clearml==${SDK}"; } && \
    uv pip install --quiet --no-cache --python /opt/step/bin/python "pip<22.3" "setuptools<81"
RUN if [ -d source ]; then \
        uv pip install --quiet --no-cache --python /opt/step/bin/python --no-deps ./source && \
        # Without the folder it came from in its record, the agent lists it by name and version.
        rm -f /opt/step/lib/python3.*/site-packages/*.dist-info/direct_url.json; \
    fi
COPY images/strip_comments.py /tmp/
RUN /opt/step/bin/python -W ignore /tmp/strip_comments.py
COPY --chmod=0755 images/task/step-python images/task/pip_shim.py images/task/kept_packages.py /opt/step/bin/


FROM ${TASK_BASE} AS project
COPY --from=project-environment --chown=1000:1000 /opt/step /opt/step
ARG VERSION=0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="clearml-pods-project" \
      org.opencontainers.image.description="Runs ClearML steps of a project: its packages, clearml-agent beside them" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
