"""What Python runs at its start in each process of a task: the folder itself is on the task's PYTHONPATH."""
