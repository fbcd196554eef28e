# What `docker.io/library/python:3.11` has and lacks, made of Debian's packages: user root, no user 1000, python, pip and
# git; no clearml-agent, no SDK, nothing of this project. tests/e2e/test_stock_image.py runs tasks in it.
ARG BASE
FROM ${BASE} AS stock
ARG CA_DIGEST=none
# Only where this machine's proxy signs TLS anew.
RUN --mount=type=secret,id=ca,target=/run/company-ca.pem \
    if [ -s /run/company-ca.pem ]; then \
        install -D -m 0644 /run/company-ca.pem /usr/local/share/ca-certificates/company-ca.crt && \
        update-ca-certificates; \
    fi
RUN apt-get update --quiet --quiet && \
    DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends python3-pip git && \
    rm -rf /var/lib/apt/lists/* && \
    # The stock image's pip installs anywhere; Debian's refuses.
    rm -f /usr/lib/python3.*/EXTERNALLY-MANAGED && \
    ln -s /usr/bin/python3 /usr/local/bin/python
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt REQUESTS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt
CMD ["python3"]
