"""Models of the SDK: what its public interface does not say. Outside system: the ClearML server, through the SDK."""

from __future__ import annotations

from typing import Any

from clearml import OutputModel
from clearml.backend_api.services import models


def exists(model: Any) -> bool:
    """Return whether the server has the model that an SDK object stands for."""
    return model._get_model_data() is not None


class TaskModel(OutputModel):  # type: ignore[misc]
    """A task's model that names its task from its first moment on.

    The SDK makes a model without a task and adds the task by its next call. If the process is stopped between the two,
    nobody can tell whose model that is, and it stays.
    """

    def _get_force_base_model(self, model_name: str | None = None, task_model_entry: str | None = None) -> Any:
        if self._base_model is None:  # type: ignore[has-type]
            task = self._task
            request = models.CreateRequest(
                uri="file:///uploading_file",  # what the SDK writes until the file is there
                name=model_name or self._name or task.name,
                labels={},
                project=task.project,
                task=task.id,
            )
            made = task.send(request).response.id
            self._base_model = task._get_output_model(model_id=made)
            self._update_base_model(model_name=model_name, task_model_entry=task_model_entry)
        return self._base_model
