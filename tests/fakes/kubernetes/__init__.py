"""A fake Kubernetes: objects in memory, served over HTTP to the official client, with controllers and faults.

kmock 0.8 (PyPI) was looked at first. It has no label or field selectors, no resourceVersion conflicts, no pod logs and
no controllers, and these tests are about those.

This is a model: it knows the kinds, verbs and failures that `deploy` meets, and answers everything else with 404.
"""
