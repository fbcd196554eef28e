"""What clearml-serving is measured beside: a FastAPI handler of one model and nothing else.

Runs in the environment of clearml-serving: `uvicorn bench.bare_handler:app`, with BENCH_MODEL as the model's file. Like
clearml-serving's engine `custom`, it predicts on the event loop.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from pipeline.amazon_reviews.training.predictor import Predictor

app = FastAPI()
PREDICTOR = Predictor.load(Path(os.environ["BENCH_MODEL"]))


@app.post("/predict")  # type: ignore[untyped-decorator]  # fastapi is in the other environment
async def predict(request: dict[str, Any]) -> dict[str, Any]:
    """Return what the model says of a text."""
    return {"predictions": [asdict(item) for item in PREDICTOR.predict([request["text"]], allow_unseen=True)]}
