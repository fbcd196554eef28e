"""A probe is like the pod that it stands for, but for what is data, secret or not there yet."""

import pytest

from deploy import planned_pods

COMING = frozenset({("Secret", "keys"), ("ConfigMap", "pt"), ("ServiceAccount", "sa")})


def made(volume=None, env=None, limits=(), **spec):
    like = {"securityContext": {"x": 1}, "env": [env] if env else [], "resources": spec.pop("resources", {})}
    if volume:
        like["volumeMounts"] = [{"name": "v", "mountPath": "/v"}]
        spec["volumes"] = [{"name": "v", **volume}]
    return planned_pods.probe({"containers": [like], **spec}, COMING, {"name": "probe"}, limits, {"HIDDEN"})


@pytest.mark.parametrize(
    ("volume", "kept"),
    [
        ({"configMap": {"name": "ca"}}, True),
        ({"configMap": {"name": "pt"}}, False),
        ({"secret": {"secretName": "ca"}}, True),
        ({"secret": {"secretName": "keys"}}, False),
        ({"projected": {"sources": [{"configMap": {"name": "ca"}}]}}, True),
        ({"projected": {"sources": [{"configMap": {"name": "ca"}}, {"secret": {"name": "keys"}}]}}, False),
        ({"emptyDir": {}}, True),
        ({"persistentVolumeClaim": {"claimName": "data"}}, False),
        ({"nfs": {"server": "s", "path": "/"}}, False),
    ],
)
def test_volumes(volume, kept):
    spec = made(volume)
    assert ([item["name"] for item in spec["volumes"]], len(spec["containers"][0]["volumeMounts"])) == (
        (["v"], 1) if kept else ([], 0)
    )


@pytest.mark.parametrize(
    ("env", "kept"),
    [
        ({"name": "A", "value": "b"}, True),
        ({"name": "A", "valueFrom": {"secretKeyRef": {"name": "proxy", "key": "k"}}}, True),
        ({"name": "A", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "k"}}}, False),
        ({"name": "A", "valueFrom": {"configMapKeyRef": {"name": "pt", "key": "k"}}}, False),
        ({"name": "HIDDEN", "value": "b"}, False),
    ],
)
def test_environment(env, kept):
    assert made(env=env)["containers"][0]["env"] == ([env] if kept else [])


def test_an_account_that_is_made_later_is_left_out():
    assert "serviceAccountName" not in made(serviceAccountName="sa")
    assert made(serviceAccountName="own")["serviceAccountName"] == "own"


def test_it_is_small_wherever_a_limit_range_does_not_say_how_small():
    resources = {"limits": {"nvidia.com/gpu": 1, "cpu": "8", "memory": "64Gi"}, "requests": {"memory": "32Gi"}}
    own = made(resources=resources)["containers"][0]["resources"]
    assert own == {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "256Mi", "cpu": "8"}}
    limits = [{"default": {"memory": "1Gi"}, "defaultRequest": {"cpu": "100m"}}]
    own = made(resources=resources, limits=limits)["containers"][0]["resources"]
    assert own == {"requests": {}, "limits": {"cpu": "8"}}


def test_the_pods_of_a_chart():
    template = "spec: {containers: [{env: []}], serviceAccountName: agent}"
    objects = [
        {"kind": "ConfigMap", "metadata": {"name": "pt"}, "data": {"template.yaml": template}},
        {"kind": "Deployment", "metadata": {"name": "a"}, "spec": {"template": {"spec": {"nodeSelector": {"a": "b"}}}}},
    ]
    assert planned_pods.spec(objects, "agent", "tasks") == {"nodeSelector": {"a": "b"}}
    assert planned_pods.spec(objects, "task", "tasks")["serviceAccountName"] == "tasks"
    assert planned_pods.spec(objects, "task", "")["serviceAccountName"] == "agent"
    assert ("ConfigMap", "pt") in planned_pods.made(objects, [("Secret", "keys")])
    full = planned_pods.full(planned_pods.spec(objects, "task", "tasks"), COMING, "image")
    assert (full["containers"][0]["image"], full["restartPolicy"]) == ("image", "Never")
