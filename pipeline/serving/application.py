"""What `uvicorn` runs: clearml-serving's application, unmodified, behind our metrics and probes.

Imported by the inference process alone: importing clearml-serving's application begins its task on the server.
"""

from __future__ import annotations

from clearml_serving.serving import main

from pipeline.serving.observed import Observed

app = Observed(main.app, is_ready=lambda: main.processor is not None)
