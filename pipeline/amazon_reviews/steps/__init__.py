"""The pipeline's steps as the SDK ships them: by source, one function at a time.

What follows from that, for every module in this package (a unit test generates each step and compiles it):
no `from __future__`, no module constants, no decorators, absolute imports inside the function. A step is a shell; the
work is in `pipeline.amazon_reviews.step_work`. Values of pipeline parameters arrive as text:
`pipeline.amazon_reviews.step_work` casts them.
"""
