"""The program of the node that enforces NetworkPolicies: asks for them every second, and writes one nftables table.

Started by the node process, in its network namespace, as `python -m cluster.policing STATE`. A pod that has just got
its address is not isolated for a moment, as on most clusters.

Outside systems: the cluster's API server; `nft`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from cluster import kube, policies, shell
from cluster.errors import StartError
from cluster.facts import Facts
from cluster.layout import Layout

NAME = "network-policy"
POLL_S = 1.0
POLICIES, PODS, NAMESPACES = "/apis/networking.k8s.io/v1/networkpolicies", "/api/v1/pods", "/api/v1/namespaces"


def main(state: Path) -> None:
    """Enforce the policies of the cluster in `state` until the node ends."""
    Path("/proc/self/comm").write_text(NAME, encoding="ascii")  # `cluster status` finds programs by their names
    facts = Facts.read(state / "cluster.json")
    if facts is None:
        raise StartError(f"{state}/cluster.json is missing or damaged", hint="./task cluster-up")
    layout = Layout(facts.name, state, state)
    server = kube.Api(f"https://{facts.addresses.node}:6443", layout.pki)
    applied = ""  # what an earlier start of this program left is replaced
    while True:
        wanted = _wanted(server)
        if wanted not in (None, applied):
            shell.run("nft", "--file", "-", stdin=wanted)
            applied = wanted
        time.sleep(POLL_S)


def _wanted(server: kube.Api) -> str | None:
    """Return the rules; None where the API server does not answer: then those before stay."""
    found = server.items(POLICIES)
    if not found:
        return None if found is None else policies.NO_RULES
    pods, namespaces = server.items(PODS), server.items(NAMESPACES)
    return None if pods is None or namespaces is None else policies.table(found, pods, namespaces)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
