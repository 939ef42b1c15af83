"""Offers the results of a study as data frames: `ablate.results("reports/masking").scores`."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from ablate.core.records.plan import StudyPlan
from ablate.report.figures.metrics import read_curves
from ablate.report.pages import sentences
from ablate.report.pages.tables import build_variant_cells, build_variant_table
from ablate.report.prediction_frames import (
    build_class_frame,
    build_clip_frame,
    build_confusion_frame,
    build_label_frame,
)
from ablate.report.results import Results, read_results
from ablate.report.stats.verdicts import compute_verdicts


@dataclass(frozen=True)
class StudyResults:
    """The results of a study as pandas data frames, each created on first use.

    Attributes:
        results: The trials of the study.
        runs: The folder of the run folders.
    """

    results: Results
    runs: Path

    @cached_property
    def scores(self) -> pd.DataFrame:
        """One row per trial, kind of run, task, probe and pooling; `valid` and `test` in percent.

        The kind of run is jepa, random_init or mel_statistics; or confirmation or crossing, a
        trained encoder that no main verdict uses.
        """
        return self.results.scores()

    @cached_property
    def trials(self) -> pd.DataFrame:
        """One row per trial: levels, seed, state, score (percent), gain (points), cost, metrics."""
        return self.results.frame()

    @cached_property
    def variants(self) -> pd.DataFrame:
        """One row per variant: mean score (percent) and gain (points) with their intervals."""
        return pd.DataFrame(build_variant_table(self.results).rows)

    @cached_property
    def contrasts(self) -> pd.DataFrame:
        """One row per contrast of any family: difference (points), interval, p-values, verdict."""
        verdicts = compute_verdicts(self.results)
        tables = (
            sentences.build_contrast_table(verdicts),
            sentences.build_learning_table(verdicts),
            sentences.build_untrained_table(verdicts),
        )
        return pd.DataFrame([row for table in tables for row in table.rows])

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """One row per clip of tasks with one label per clip: its class, and the predicted one.

        For each trial, kind of run, task, probe, pooling, part and probe seed. Runs scored before
        predictions were kept have no rows.
        """
        return build_clip_frame(self.results)

    @cached_property
    def label_predictions(self) -> pd.DataFrame:
        """One row per clip and class of tasks with several labels, or per second with events."""
        return build_label_frame(self.results)

    @cached_property
    def confusion(self) -> pd.DataFrame:
        """One row per true and predicted class of each trial, with the number of clips."""
        return build_confusion_frame(self.results)

    @cached_property
    def class_scores(self) -> pd.DataFrame:
        """One row per class of each trial: support, and precision, recall and F1 in percent."""
        return build_class_frame(self.results)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """One row per variant, seed, quantity and step, with the hours of audio until then."""
        rows = [
            {
                **build_variant_cells(self.results, curve.levels),
                "quantity": curve.quantity,
                "seed": seed,
                "step": step,
                "audio_hours": curve.hours_per_step and curve.hours_per_step * step,
                "value": value,
            }
            for curve in read_curves(self.results, self.runs)
            for seed, points in zip(curve.seed_numbers, curve.seeds, strict=True)
            for step, value in points
        ]
        return pd.DataFrame(rows)


def results(path: str | Path, *, runs: str | Path | None = None) -> StudyResults:
    """Reads the results of a study from its report.

    Args:
        path: The folder of the report, which contains `plan.json`.
        runs: The folder of all run folders. By default `$ABLATE_RUNS`, or `runs` next to the
            folder of all reports.

    Returns:
        Scores, trials, variants, contrasts, curves and predictions, each a pandas data frame.

    Raises:
        FileNotFoundError: If the folder contains no `plan.json`.
        ValueError: If a file is not JSON.

    Example:
        >>> import ablate
        >>> results = ablate.results("reports/tiny")
        >>> sorted(results.scores["task"].unique())
        ['environment', 'music', 'speech']
    """
    folder = Path(path)
    plan = folder / "plan.json"
    if not plan.is_file():
        raise FileNotFoundError(
            f"`{folder}` contains no plan.json; give the folder of a report, such as "
            "reports/masking, once the study has been run"
        )
    runs_folder = Path(
        runs or os.environ.get("ABLATE_RUNS") or folder.resolve().parents[1] / "runs"
    )
    return StudyResults(read_results(StudyPlan.read(plan), runs_folder), runs_folder)
