"""The `seeds` of a study: a fixed number, a growing one, or seeds of their own for each purpose."""

import itertools
import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Discriminator, Field, PlainValidator, Tag, model_validator
from pydantic_core import PydanticCustomError

from ablate.config.validation import (
    MAX_SEEDS,
    RULE,
    Count,
    KeyProblem,
    StudySection,
    raise_any,
    require,
    seed_list,
)
from ablate.core.seeds import SETTINGS


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


PURPOSE_RULE = (
    "must be one seed from 0 up, which every trial has, or a list of two or more different ones"
)


def _read_purpose(value: Any) -> tuple[int, ...]:
    seeds = [value] if type(value) is int else value
    valid = isinstance(seeds, list) and all(type(seed) is int and seed >= 0 for seed in seeds)
    too_few = isinstance(value, list) and len(value) < 2
    if not valid or too_few or len(set(seeds)) < len(seeds):
        raise PydanticCustomError(RULE, "{rule}", {"rule": PURPOSE_RULE})
    return tuple(seeds)


PurposeSeeds = Annotated[
    tuple[int, ...], PlainValidator(_read_purpose, json_schema_input_type=int | list[int])
]


class SeparateSeeds(StudySection):
    """The `seeds` of a study in which each purpose has seeds of its own.

    A purpose with a list varies, and one with a number is held. Lists are paired: the first trial
    has the first seed of each.
    """

    init: PurposeSeeds = Field(description="seeds of the initial weights: a list, or a number")
    order: PurposeSeeds = Field(
        description="seeds of the order and windows of clips, of augmentation and of dropped paths"
    )
    masks: PurposeSeeds = Field(description="seeds of the masks")
    probe: PurposeSeeds | None = Field(
        default=None,
        description="seeds of what a fine-tuning probe draws; unset, those of `init`. Other probes "
        "draw the same for every trial",
    )
    crossed: bool = Field(
        default=False,
        description="trains every combination of the lists, and tells how much of the spread over "
        "seeds comes from each",
    )

    @property
    def varied(self) -> dict[str, tuple[int, ...]]:
        """The purposes that vary, with their seeds."""
        return {purpose: seeds for purpose, seeds in self._lists.items() if len(seeds) > 1}

    @property
    def held(self) -> tuple[str, ...]:
        """The purposes with one seed for all trials."""
        return tuple(purpose for purpose, seeds in self._lists.items() if len(seeds) == 1)

    @property
    def _lists(self) -> dict[str, tuple[int, ...]]:
        lists = {purpose: getattr(self, purpose) for purpose in SETTINGS}
        return {purpose: seeds for purpose, seeds in lists.items() if seeds is not None}

    @property
    def num_paired(self) -> int:
        """The number of trials of a variant that share no seed of a varied purpose."""
        return min(map(len, self.varied.values()))

    def get_purposes(self) -> dict[int, Mapping[str, int]]:
        """Returns the seed of each purpose by the seed that names a trial.

        Trials that share no seed of a varied purpose come first. They are named by the seeds of the
        first such purpose, and the others of a crossed study by the numbers that follow.
        """
        varied, held = self.varied, {purpose: getattr(self, purpose)[0] for purpose in self.held}
        paired = list(zip(*varied.values(), strict=False))
        others = [c for c in itertools.product(*varied.values()) if c not in paired]
        names = list(next(iter(varied.values()))[: len(paired)])
        if self.crossed:
            names += range(max(names) + 1, max(names) + 1 + len(others))
        combinations = zip(names, [*paired, *others], strict=False)
        return {
            name: held | dict(zip(varied, combination, strict=True))
            for name, combination in combinations
        }

    @model_validator(mode="after")
    def _check_lists(self) -> "SeparateSeeds":
        raise_any([KeyProblem(text) for text in [self._find_problem()] if text])
        return self

    def _find_problem(self) -> str:
        varied = self.varied
        sizes = ", ".join(f"`{purpose}` has {len(seeds)}" for purpose, seeds in varied.items())
        if not varied:
            return "`{key}` varies nothing: give a purpose a list, as in `init: [0, 1, 2]`"
        if [*varied] == ["probe"]:
            return (
                "`{key}` varies only the probe, so that one encoder would be trained several "
                "times; give the probe `seeds: 5`: each encoder is then probed as often"
            )
        if not self.crossed:
            is_paired = len({len(seeds) for seeds in varied.values()}) == 1
            remedy = "lists are paired and need one length, unless `crossed: true`"
            return "" if is_paired else f"`{{key}}`: {sizes} seeds; {remedy}"
        if len(varied) < 2 or "probe" in varied:
            rule = "`crossed` needs lists of two or three of `init`, `order` and `masks`"
            return f"`{{key}}`: {rule}; got lists of {', '.join(varied)}"
        amount = math.prod(map(len, varied.values()))
        too_many = f"`{{key}}`: {amount} combinations per variant; {MAX_SEEDS} at most"
        return too_many if amount > MAX_SEEDS else ""


SEED_RULE = (
    "must be a count from 1 up, `{start: 3, max: 8}` to add some while a contrast is undecided, "
    "or a list of different integers from 0 up"
)


def _get_kind(value: Any) -> str:
    if isinstance(value, SeparateSeeds):
        return "<SeparateSeeds>"
    if isinstance(value, dict) and {*SETTINGS, "crossed"} & {*value}:
        return "<SeparateSeeds>"
    return "<SeedGrowth>" if isinstance(value, dict | SeedGrowth) else "<fixed>"


Seeds = Annotated[
    Annotated[SeedGrowth, Tag("<SeedGrowth>")]
    | Annotated[SeparateSeeds, Tag("<SeparateSeeds>")]
    | Annotated[tuple[int, ...], seed_list(0, SEED_RULE), Tag("<fixed>")],
    Discriminator(_get_kind),
]


def list_seeds(plan: Seeds) -> tuple[int, ...]:
    """Returns the seeds of all trials of a variant that a study may use for its verdicts."""
    if isinstance(plan, SeparateSeeds):
        return tuple(plan.get_purposes())
    return tuple(range(plan.max)) if isinstance(plan, SeedGrowth) else plan
