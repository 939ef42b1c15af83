"""Learning curves are read from the logs of runs, whatever a crash left in them."""

import math

import pytest

from ablate.core.records.metrics_log import format_line
from ablate.report.figures.metrics import read_curves
from ablate.report.report import write_report
from ablate.report.results import read_results
from tests.report.conftest import StudyBuilder


def test_an_incomplete_last_line_of_a_log_is_ignored(builder: StudyBuilder) -> None:
    plan = builder.build()
    log = builder.runs / builder.fingerprint(0, masker="random", patchifier="squares")
    with (log / "metrics.jsonl").open("a") as file:
        file.write('{"step": 1600, "lo')
    assert (
        "18 of 18 trials scored"
        in write_report(plan, builder.runs, builder.report).page.read_text()
    )


def test_a_loss_that_is_not_finite_is_not_drawn(builder: StudyBuilder) -> None:
    plan = builder.build()
    log = builder.runs / builder.fingerprint(0, masker="random", patchifier="squares")
    with (log / "metrics.jsonl").open("a") as file:
        file.write(format_line({"step": 1600, "loss": math.nan, "position_loss": None}))
    curves = read_curves(read_results(plan, builder.runs), builder.runs)
    values = [value for curve in curves for seed in curve.seeds for _, value in seed]
    assert all(math.isfinite(value) for value in values)
    assert len(values) == 18 * 3 * 15


def test_a_log_that_ends_before_its_training_is_named(
    builder: StudyBuilder, caplog: pytest.LogCaptureFixture
) -> None:
    plan = builder.build()
    results = read_results(plan, builder.runs)
    read_curves(results, builder.runs)
    assert caplog.messages == []
    log = builder.runs / builder.fingerprint(0, masker="random", patchifier="squares")
    file = log / "metrics.jsonl"
    file.write_text("")
    read_curves(results, builder.runs)
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(f"{file} ends at step 0 of ")
