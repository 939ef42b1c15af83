"""The small sections of a study: confirm, evaluate, report, limits."""

from typing import Annotated, Literal

from pydantic import Field

from ablate.config.validation import MAX_SEEDS, Count, StudySection, require


class Confirm(StudySection):
    """Retrains the leading variants and the baseline on seeds that did not choose them."""

    top: Count = Field(
        description="variants to confirm, the best by validation score, "
        "as in `confirm: {top: 2, seeds: 5}`"
    )
    num_seeds: Annotated[
        int, Field(ge=2, le=MAX_SEEDS), require(f"must be a count from 2 to {MAX_SEEDS}")
    ] = Field(
        alias="seeds",
        description="fresh seeds per variant (one has no spread), "
        "as in `confirm: {top: 2, seeds: 5}`",
    )


class Evaluate(StudySection):
    """Scores the encoder before training, every so many steps, and at the end.

    It never changes or stops training, whatever `on_collapse` says, and is not part of a trial's
    fingerprint. A score below that of the random initialisation gives a warning, and marks the
    run as collapsed for every study that shares it.
    """

    every: Annotated[int, Field(ge=1), require("must be a number of steps from 1 up")] = Field(
        description="training steps between two evaluations, as in `evaluate: {every: 500}`"
    )
    clips: Annotated[int, Field(ge=1), require("must be a number of clips from 1 up")] = Field(
        default=100,
        description="most clips per task to fit the probe on, and to score",
    )
    score: str = Field(
        default="", description="probe.pooling, on validation clips; default: the study's `score`"
    )


class Report(StudySection):
    """How the report decides."""

    equivalence_margin: Annotated[
        float, Field(gt=0, lt=100), require("must lie between 0 and 100")
    ] = Field(default=2.0, description="points; levels shown to differ by less are equivalent")
    alpha: Annotated[float, Field(gt=0, lt=0.5), require("must lie between 0 and 0.5")] = Field(
        default=0.05, description="probability of a wrong verdict, over the family of contrasts"
    )


Limit = Annotated[float | None, Field(ge=0), require("must be a number from 0 up")]


class Limits(StudySection):
    """Upper bounds on what a study may still take; None: no bound."""

    trials: Limit = Field(default=None, description="trials to train")
    hours: Limit = Field(default=None, description="hours of training, summed over all workers")
    disk_gb: Limit = Field(default=None, description="final size of the run folders, in GB")


MatchBudget = Literal["steps", "clips", "flops"]
RandomInits = Annotated[int, Field(ge=1, le=100), require("must be a count from 1 to 100")]
