"""The cluster: its API, the objects of one namespace, what a pod's status means."""
