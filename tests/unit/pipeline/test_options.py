from pipeline.controllers.options import Launch


def test_a_launch_survives_the_command_line():
    launch = Launch(
        mode="in-process",
        parameters={"test_size": 0.25, "random_state": 7, "stratify": False, "dataset_name": 'a "name" with ünïcode'},
        use_cache=False,
        step_queues={"train_processing": "fast"},
    )
    assert Launch.from_json(launch.to_json()) == launch
