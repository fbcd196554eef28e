"""Certificates and keys of one cluster: its own authority, one server and one client certificate a speaker.

Made again by every `up`, valid for a month, kept below the state folder with mode 0600.
Outside system: the openssl program.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path

from cluster import shell
from cluster.errors import StartError
from cluster.layout import Addresses

DAYS = "30"


@dataclass(frozen=True)
class Certificate:
    """One certificate: who it speaks for, and at which names it serves."""

    name: str
    subject: str
    serves: str = ""
    """subjectAltName of a server; a client has none."""


def certificates(node: str, addresses: Addresses) -> list[Certificate]:
    """Return the certificates of a cluster whose one node is `node`.

    Kubernetes takes a client's user from CN and its groups from O.
    """
    service = "kubernetes.default.svc"
    names = ["localhost", "kubernetes", "kubernetes.default", service, f"{service}.cluster.local"]
    ips = ["127.0.0.1", str(addresses.node), str(addresses.api_service)]
    apiserver = ",".join([*(f"DNS:{name}" for name in names), *(f"IP:{ip}" for ip in ips)])
    return [
        Certificate("apiserver", "/CN=kube-apiserver", apiserver),
        Certificate("kubelet-server", f"/CN={node}", f"DNS:{node},IP:{addresses.node}"),
        Certificate("apiserver-to-kubelet", "/O=system:masters/CN=kube-apiserver"),
        Certificate("admin", "/O=system:masters/CN=admin"),
        Certificate("kubelet", f"/O=system:nodes/CN=system:node:{node}"),
        Certificate("controller-manager", "/CN=system:kube-controller-manager"),
        Certificate("scheduler", "/CN=system:kube-scheduler"),
        Certificate("kube-proxy", "/CN=system:kube-proxy"),
        Certificate("coredns", "/O=system:masters/CN=coredns"),
    ]


def create(folder: Path, node: str, addresses: Addresses) -> None:
    """Write the authority, the service-account key and all certificates into `folder`.

    Raises:
        StartError: openssl fails.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _key(folder, "service-account")
    _key(folder, "ca")
    authority = ("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    _openssl(folder, "req", "-x509", "-new", "-key", "ca.key", "-subj", "/CN=clearml-pods-cluster", "-days", DAYS,
             *authority, "-out", "ca.crt")  # fmt: skip
    for certificate in certificates(node, addresses):
        _key(folder, certificate.name)
        extensions = ["keyUsage=critical,digitalSignature", "basicConstraints=critical,CA:FALSE"]
        if certificate.serves:
            extensions += ["extendedKeyUsage=serverAuth", f"subjectAltName={certificate.serves}"]
        else:
            extensions += ["extendedKeyUsage=clientAuth"]
        options = [word for extension in extensions for word in ("-addext", extension)]
        names = ("-key", f"{certificate.name}.key", "-subj", certificate.subject, "-out", f"{certificate.name}.crt")
        signer = ("-CA", "ca.crt", "-CAkey", "ca.key", "-days", DAYS)
        _openssl(folder, "req", "-x509", "-new", *names, *signer, *options)


def kubeconfig(folder: Path, user: str, server: str, context: str) -> str:
    """Return a kubeconfig (JSON, which is YAML) that holds its certificates itself, so that it can be moved."""
    data = {
        name: base64.b64encode((folder / name).read_bytes()).decode()
        for name in ("ca.crt", f"{user}.crt", f"{user}.key")
    }
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": context, "cluster": {"server": server, "certificate-authority-data": data["ca.crt"]}}],
        "users": [
            {
                "name": user,
                "user": {"client-certificate-data": data[f"{user}.crt"], "client-key-data": data[f"{user}.key"]},
            }
        ],
        "contexts": [{"name": context, "context": {"cluster": context, "user": user}}],
        "current-context": context,
    }
    return json.dumps(document, indent=2) + "\n"


def _key(folder: Path, name: str) -> None:
    # Elliptic keys take a millisecond; RSA ones would take seconds for the lot.
    _openssl(folder, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")
    (folder / f"{name}.key").chmod(0o600)


def _openssl(folder: Path, *words: str) -> None:
    shell.run("openssl", *words, cwd=folder, error=StartError, hint="apt-get install openssl")
