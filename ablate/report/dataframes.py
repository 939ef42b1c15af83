"""A study's results as data frames, for a notebook: `ablate.results("reports/masking").scores`."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from ablate.core.records.plan import StudyPlan
from ablate.report.figures.metrics import read_curves
from ablate.report.pages import sentences
from ablate.report.pages.tables import build_variant_cells
from ablate.report.pages.tables import build_variant_table as tabulated
from ablate.report.results import Results, read_results
from ablate.report.stats.verdicts import compute_verdicts


@dataclass(frozen=True)
class StudyResults:
    """What a study found; each frame is made when it is first asked for."""

    results: Results
    runs: Path  # the folder of the run folders

    @cached_property
    def scores(self) -> pd.DataFrame:
        """Returns a row a trial, kind of run, task, probe and pooling, in percent."""
        return self.results.scores()

    @cached_property
    def trials(self) -> pd.DataFrame:
        """Returns a row a trial: levels, seed, state, score (percent), gain, health and cost."""
        return self.results.frame()

    @cached_property
    def variants(self) -> pd.DataFrame:
        """Returns a row a variant: mean score (percent) and gain (points) with their intervals."""
        return pd.DataFrame(tabulated(self.results).rows)

    @cached_property
    def contrasts(self) -> pd.DataFrame:
        """Returns a row a contrast of any family: difference in points, p-values, verdict."""
        answers = compute_verdicts(self.results)
        tables = sentences.build_contrast_table(answers), sentences.build_learning_table(answers)
        return pd.DataFrame([row for table in tables for row in table.rows])

    @cached_property
    def curves(self) -> pd.DataFrame:
        """Returns a row a variant, seed, quantity and step, with the hours of audio heard."""
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
        Scores, trials, variants, contrasts and curves, each a pandas data frame.

    Raises:
        FileNotFoundError: If the folder contains no `plan.json`.
        ValueError: If a file is not JSON.

    Example:
        >>> import ablate
        >>> found = ablate.results("reports/tiny")
        >>> sorted(found.scores["task"].unique())
        ['environment', 'music', 'speech']
    """
    folder = Path(path)
    plan = folder / "plan.json"
    if not plan.is_file():
        raise FileNotFoundError(
            f"`{folder}` holds no plan.json; give the folder of a report, such as "
            "reports/masking, once the study has been run"
        )
    place = runs or os.environ.get("ABLATE_RUNS") or folder.resolve().parents[1] / "runs"
    return StudyResults(read_results(StudyPlan.read(plan), Path(place)), Path(place))
