"""Progress of a model that has gone wrong is read back as it was: it is just then that people look at it."""

from math import inf, isnan, nan

from deepseek_operator.api.status import JobStatus
from deepseek_runtime.contract.records import Progress


def test_losses_and_metrics_that_are_no_numbers() -> None:
    told = Progress(term=1, step=5, steps=9, loss=nan, metrics={"loss": nan, "least": -inf})
    for read in (
        Progress.model_validate_json(told.model_dump_json()),
        JobStatus.model_validate_json(JobStatus(progress=told).model_dump_json(by_alias=True)).progress,
    ):
        assert read is not None
        assert read.loss is not None
        assert isnan(read.loss)
        assert isnan(read.metrics["loss"])
        assert read.metrics["least"] == -inf
