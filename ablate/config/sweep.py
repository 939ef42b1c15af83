"""The `sweep` section of a study: what is tuned, by which sampler, and for how long."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from ablate.config.search_space import SpaceKeys
from ablate.config.tree import Node, Path
from ablate.config.validation import (
    RULE,
    Count,
    KeyProblem,
    StudySection,
    Tuple,
    one_or_more,
    require,
    seed_list,
)
from ablate.core.suggest import did_you_mean

Sampler = Literal["tpe", "random", "qmc", "gp", "cmaes", "nsga2"]
SINGLE_OBJECTIVE = ("gp", "cmaes")  # samplers of one objective
Pruner = Literal["none", "median", "asha", "hyperband", "wilcoxon"]
RUNG_PRUNERS = ("median", "asha", "hyperband")  # pruners that judge at rungs
HALVING = ("asha", "hyperband")  # pruners that judge each time the share of steps has doubled
SCORE = "score"
Objective = Literal[
    "score", "cost.steps", "cost.clips", "cost.flops", "cost.seconds", "cost.context_tokens"
]
FIRST_SEED = 1000  # first of the seeds to tune on, if only their number is written
DEFAULT_RUNGS = (0.25, 0.5)  # shares of the steps at which points are judged
MIN_WILCOXON_SEEDS = 4  # with fewer the Wilcoxon test can never be significant
SEED_RULE = "must be a count from 1 up, or a list of different integers from 0 up"
RUNG_RULE = "must list shares of the steps, rising, above 0 and below 1"
STORAGE_RULE = (
    "must be `journal`, or a URL such as `sqlite:///sweep.db`, `postgresql+psycopg://host/name`"
)


class SweepError(RuntimeError):
    """Ends a sweep without a result; what has been run is kept in the run folders."""


def _rising(shares: tuple[float, ...]) -> tuple[float, ...]:
    if sorted(set(shares)) != list(shares):
        raise ValueError("shares do not rise")
    return shares


def _by_label(value: Any) -> Any:
    return value.value if isinstance(value, Node) else value


def _storage_url(value: str | None) -> str | None:
    if value in (None, "journal"):
        return None
    if "://" not in str(value):
        raise PydanticCustomError(RULE, "{rule}", {"rule": STORAGE_RULE})
    return value


Bound = Annotated[float | None, Field(gt=0), require("must be more than 0")]


class Constraints(StudySection):
    """Upper bounds on the cost of a run, as a mean over seeds; None: no bound."""

    steps: Bound = Field(default=None, alias="cost.steps", description="training steps")
    clips: Bound = Field(default=None, alias="cost.clips", description="clips seen")
    flops: Bound = Field(default=None, alias="cost.flops", description="FLOPs of the training")
    seconds: Bound = Field(default=None, alias="cost.seconds", description="seconds of training")
    context_tokens: Bound = Field(
        default=None, alias="cost.context_tokens", description="tokens that the encoder sees"
    )

    @property
    def bounds(self) -> dict[str, float]:
        """The bounds by the name of the cost, without those that are not set."""
        values = self.model_dump(by_alias=True)
        return {name: value for name, value in values.items() if value is not None}


class Sweep(StudySection):
    """Tunes the settings of each variant before its seeds are trained."""

    space: SpaceKeys = Field(
        description="settings to tune: for each a range `{low: 1, high: 4}`, a list of values, or "
        "`label: settings` of parts"
    )
    only: Annotated[dict[str, SpaceKeys], BeforeValidator(_by_label)] = Field(
        default={},
        description="label of a level -> a space of further settings, tuned with this level only",
    )
    per: Annotated[Tuple[str], one_or_more(str)] = Field(
        default=(),
        description="factors; each combination of their levels is tuned by itself",
    )
    sampler: Sampler = Field(default="tpe", description="algorithm that suggests points")
    pruner: Annotated[Pruner, BeforeValidator(lambda value: value or "none")] = Field(
        default="none", description="rule that ends points early"
    )
    rungs: Annotated[
        Tuple[Annotated[float, Field(gt=0, lt=1)]],
        Field(min_length=1),
        AfterValidator(_rising),
        one_or_more(float),
        require(RUNG_RULE),
    ] = Field(
        default=(),
        description="shares of the steps at which points are scored too; "
        "default: 0.25 and 0.5 if the pruner uses them",
    )
    trials: Count = Field(default=20, description="points per combination of levels")
    seeds: Annotated[tuple[int, ...], seed_list(FIRST_SEED, SEED_RULE)] = Field(
        default=(FIRST_SEED,), description="seeds to tune on; none of them enters the verdict"
    )
    objectives: Annotated[Tuple[Objective], one_or_more(Objective)] = Field(
        default=("score",),
        description="`score`, to maximise, and costs, to minimise",
    )
    constraints: Constraints = Field(
        default_factory=Constraints, description="upper bounds on what the chosen points cost"
    )
    workers: Count = Field(
        default=4, description="cluster jobs that evaluate points; on one machine see `--workers`"
    )
    minutes: Annotated[float | None, Field(gt=0), require("must be more than 0")] = Field(
        default=None, description="no further point is suggested after this time"
    )
    storage: Annotated[str | None, AfterValidator(_storage_url)] = Field(
        default=None,
        description="URL of an Optuna storage; default: a journal file beside the report",
    )

    @model_validator(mode="before")
    @classmethod
    def _set_default_rungs(cls, keys: Any) -> Any:
        prunes = isinstance(keys, dict) and keys.get("pruner") in RUNG_PRUNERS
        return {"rungs": list(DEFAULT_RUNGS), **keys} if prunes else keys


def find_sweep_problems(
    sweep: Sweep,
    node: Node,
    factors: Mapping[str, Mapping[str, Node]] | None,
    seeds: Collection[int],
    settings: Collection[str],
) -> Iterator[KeyProblem]:
    """Yields where a sweep contradicts itself or the rest of its study.

    Args:
        sweep: the valid values of the section.
        node: the section as written.
        factors: the study's factors with their levels; None if they are not valid.
        seeds: the seeds of the study's verdict.
        settings: the names of a trial's settings.
    """
    keys = _list_setting_paths(node)
    for path in keys:
        if path[-1].split(".")[0] not in settings:
            hint = did_you_mean(path[-1].split(".")[0], settings)
            yield KeyProblem(f"`{path[-1]}` is not a setting of a trial{hint}", path)
    yield from _find_contradictions(sweep)
    shared = sorted(set(sweep.seeds) & set(seeds))
    if shared:
        message = f"seeds {', '.join(map(str, shared))} are in `sweep.seeds` and in `seeds`"
        yield KeyProblem(f"{message}; the verdict needs seeds on which nothing was tuned")
    if factors is None:
        return
    yield from _find_label_problems(node, factors)
    for name in sweep.per:
        if name not in factors:
            hint = did_you_mean(name, factors)
            message = f"`sweep.per` names no factor of the study: `{name}`{hint}"
            yield KeyProblem(message, ("per",))
    for name in factors:
        if name not in sweep.per:
            message = f"factor `{name}` is not in `sweep.per`; its levels would be compared"
            yield KeyProblem(f"{message} with settings tuned for another; add it")
    for path in keys:
        replaced = [name for name in factors if f"{name}.".startswith(f"{path[-1]}.")]
        if replaced:
            message = f"`{{key}}` would replace the levels of factor `{replaced[0]}`"
            yield KeyProblem(f"{message}; sweep something inside or beside it", path)


def _list_setting_paths(sweep: Node) -> list[Path]:
    """Returns the paths of all settings that a sweep tunes, valid or not."""
    only = sweep.at(("only",)) or Node({}, sweep.place)
    spaces = [("space",), *(("only", label) for label in only.children)]
    nodes = [(path, sweep.at(path)) for path in spaces]
    return [(*path, key) for path, node in nodes if node is not None for key in node.children]


def _find_label_problems(
    sweep: Node, factors: Mapping[str, Mapping[str, Node]]
) -> Iterator[KeyProblem]:
    labels = {label for levels in factors.values() for label in levels}
    only = sweep.at(("only",)) or Node({}, sweep.place)
    for label in only.children:
        owners = [name for name, levels in factors.items() if label in levels]
        if not owners:
            hint = did_you_mean(label, labels)
            yield KeyProblem(f"`{{key}}` is not a level of any factor{hint}", ("only", label))
        elif len(owners) > 1:
            names = " and of ".join(f"`{name}`" for name in owners)
            message = f"`{{key}}` is a level of {names}; give one of them another label"
            yield KeyProblem(message, ("only", label))


def _find_contradictions(sweep: Sweep) -> Iterator[KeyProblem]:
    names = ", ".join(sweep.objectives)
    if sweep.objectives[:1] != (SCORE,) or len(set(sweep.objectives)) < len(sweep.objectives):
        rule = f"`{{key}}` begins with `{SCORE}` and names each objective once"
        yield KeyProblem(f"{rule}; got {[*sweep.objectives]}", ("objectives",))
    if len(sweep.objectives) > 1 and sweep.pruner != "none":
        problem = f"pruner `{sweep.pruner}` supports one objective; leave it out"
        yield KeyProblem(f"{problem}; got {names}")
    if len(sweep.objectives) > 1 and sweep.sampler in SINGLE_OBJECTIVE:
        problem = f"sampler `{sweep.sampler}` supports one objective; use `tpe` or `nsga2`"
        yield KeyProblem(f"{problem}; got {names}")
    if sweep.pruner == "wilcoxon" and sweep.rungs:
        problem = "pruner `wilcoxon` judges after each seed, not at rungs"
        yield KeyProblem(f"{problem}; leave `sweep.rungs` out")
    if sweep.pruner == "wilcoxon" and len(sweep.seeds) < MIN_WILCOXON_SEEDS:
        problem = f"pruner `wilcoxon` compares seeds, and {len(sweep.seeds)} is too few"
        yield KeyProblem(f"{problem}: `sweep.seeds: {MIN_WILCOXON_SEEDS}` or more")
    unused = _unused_rungs(sweep.rungs) if sweep.pruner in HALVING and sweep.rungs else []
    if unused:
        rule = "judges at the first rung and wherever its share has doubled, so never at"
        problem = f"pruner `{sweep.pruner}` {rule} {' and '.join(map(str, unused))}"
        remedy = f"leave that out, or begin lower, as in {list(DEFAULT_RUNGS)}"
        yield KeyProblem(f"{problem}; {remedy}")


def _unused_rungs(rungs: Sequence[float]) -> list[float]:
    """Returns the rungs that no doubling of the first one reaches, in whole percent."""
    percents = [round(100 * share) for share in rungs]
    needed, unused = max(1, percents[0]), []
    for share, percent in zip(rungs, percents, strict=True):
        if percent < needed:
            unused.append(share)
        while needed <= percent:
            needed *= 2
    return unused
