"""Deploys the ClearML agent to the cluster of the current kubeconfig and proves that it works."""
