"""A one-node Kubernetes for tests and trials: `python -m cluster up|down|status|load-image`.

Where Docker works, kind, k3d or minikube makes it. On a Linux machine with root and without Docker it is started from
released sources as one *node process*: first process of its own pid, mount, network, IPC and UTS namespaces, parent
of etcd, containerd and the Kubernetes programs. When that one process ends, the kernel ends every container and drops
every mount, bridge and rule made inside, so that nothing can be left behind, not even after `kill -9`.

Nothing here is part of the product: `deploy` sees a kubeconfig like any other.
"""
