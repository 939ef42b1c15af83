"""The small sections of a study: seeds, confirm, evaluate, report, limits."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from ablate.config.validation import (
    MAX_SEEDS,
    Count,
    KeyProblem,
    StudySection,
    raise_any,
    require,
    seed_list,
)


class SeedGrowth(StudySection):
    """The `seeds` of a study that adds some for as long as a contrast is undecided."""

    start: Count = Field(description="number of seeds at the first look")
    max: Annotated[
        int, Field(ge=1, le=MAX_SEEDS), require(f"must be a count from 1 to {MAX_SEEDS}")
    ] = Field(description="largest number of seeds")
    step: Count = Field(
        default=2,
        description="seeds added per look; each look spends a share of `alpha`",
    )

    @model_validator(mode="after")
    def _check_order(self) -> "SeedGrowth":
        if self.start >= self.max:
            rule = "`{key}` must be more than `seeds.start`, or there is nothing to add"
            raise_any([KeyProblem(f"{rule}; got {self.max} and {self.start}", ("max",))])
        return self

    def get_next_count(self, count: int) -> int | None:
        """Returns the number of seeds at the look after that with `count`; None after the last."""
        return min(count + self.step, self.max) if count < self.max else None


SEED_RULE = (
    "must be a count from 1 up, `{start: 3, max: 8}` to add some while a contrast is undecided, "
    "or a list of different integers from 0 up"
)


def _kind_of_seeds(value: Any) -> str:
    return "<growth>" if isinstance(value, dict | SeedGrowth) else "<fixed>"


Seeds = Annotated[
    Annotated[SeedGrowth, Tag("<growth>")]
    | Annotated[tuple[int, ...], seed_list(0, SEED_RULE), Tag("<fixed>")],
    Discriminator(_kind_of_seeds),
]


def list_seeds(plan: Seeds) -> tuple[int, ...]:
    """Returns all seeds that a study may use for its verdicts."""
    return tuple(range(plan.max)) if isinstance(plan, SeedGrowth) else plan


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
