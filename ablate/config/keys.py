"""The keys of a study file, as a model that validates them and documents them."""

from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    Field,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from ablate.config.checks import (
    DEFAULT_PROBES,
    DEFAULT_SCORE,
    find_budget_problems,
    find_probe_problems,
    find_score_problems,
)
from ablate.config.design import (
    Condition,
    DesignKind,
    ZipGroup,
    find_condition_problems,
    find_variant_problems,
    find_when_problems,
    find_zip_problems,
)
from ablate.config.factors import (
    PROBE,
    FactorsByName,
    find_equal_levels,
    find_factor_problems,
    find_unknown_probes,
)
from ablate.config.sections import (
    Confirm,
    Evaluate,
    Limits,
    MatchBudget,
    Report,
    Seeds,
    list_seeds,
)
from ablate.config.sweep import Sweep, find_sweep_problems
from ablate.config.tree import Node
from ablate.config.validation import (
    NOT_NULL,
    KeyProblem,
    Section,
    Tuple,
    key_names,
    raise_any,
    require,
)
from ablate.core.suggest import did_you_mean

SETTINGS = {  # what a trial is made of, besides its seed
    "data": "clips to train on",
    "mel": "log-mel front end",
    "crop_frames": "length of a training crop, in mel frames",
    "crop_seconds": "length of a training crop in seconds, instead of `crop_frames`",
    "patchifier": "how a spectrogram is cut into patches",
    "masker": "which patches are context, and which are targets",
    "encoder": "context encoder; the target encoder is a copy of it",
    "predictor": "predicts the targets from the context",
    "target": "what is predicted",
    "objective": "distance between predictions and targets",
    "regulariser": "term added to the loss against collapse",
    "budget": "training steps and batch size",
    "optimizer": "optimizer, learning rate and schedule",
    "batching": "how contexts of different sizes share a batch",
    "on_collapse": "what happens if the encoder collapses",
}


def _one_line(text: str) -> str:
    if not text.strip() or "\n" in text:
        raise ValueError("not a line")
    return text


Note = Annotated[str, AfterValidator(_one_line), require("must be a line of text")]


class StudyFile(Section):
    """The keys of a study file. Validators see the keys above their own, if these are valid."""

    name: Annotated[
        str,
        StringConstraints(pattern=r"^\w[\w.+-]*$"),
        require("must be a name of letters, digits, `_`, `-`, `+`, `.`"),
    ] = Field(alias="study", description="the name of the report's folder")
    baseline: Annotated[Node, WithJsonSchema({"type": "object"})] = Field(
        description="the settings that all trials share"
    )
    tasks: dict[str, Any] | None = Field(
        default=None,
        description="clips to probe on, unless a probe names its own; default: `data`",
    )
    probes: dict[str, dict[str, Any]] = Field(
        default=DEFAULT_PROBES,
        min_length=1,
        description="names of probes with their settings, of which each has a `type`",
    )
    score: str = Field(
        default=DEFAULT_SCORE,
        validate_default=True,
        description="probe.pooling or probe.layer3.pooling, the mean over tasks; higher is better",
    )
    factors: FactorsByName = Field(
        default={}, description="settings to vary, by dotted path; each level replaces that branch"
    )
    design_kind: DesignKind = Field(
        default="grid", alias="design", description="which combinations of levels are trained"
    )
    zip_groups: Tuple[ZipGroup] = Field(
        default=(),
        alias="zip",
        validate_default=True,
        description="factors that vary together, level by level: `zip: [[encoder, budget.steps]]`",
    )
    when: Annotated[dict[str, Condition], Field(min_length=1)] = Field(
        default={},
        description="where a factor varies: `when: {masker.ratio: {masker: random}}`",
    )
    exclude: Tuple[Condition] = Field(
        default=(), description="combinations to leave out: `exclude: [{masker: block}]`"
    )
    variant_levels: Tuple[Condition] = Field(
        default=(),
        alias="variants",
        validate_default=True,
        description="combinations of `design: list`; factors not named are at their baseline",
    )
    seed_plan: Seeds = Field(alias="seeds", description="how many per variant, e.g. `seeds: 3`")
    sweep: Annotated[Sweep | None, NOT_NULL] = Field(
        default=None, description="tunes settings of every variant before its seeds are trained"
    )
    match_budget: MatchBudget | None = Field(
        default=None, description="what every trial takes as much of as the baseline"
    )
    confirm: Annotated[Confirm | None, NOT_NULL] = Field(
        default=None, description="retrains the leading variants on fresh seeds"
    )
    evaluate: Annotated[Evaluate | None, NOT_NULL] = Field(
        default=None, description="scores encoders during training; it warns, and stops nothing"
    )
    report: Report = Field(default_factory=Report, description="how the report decides")
    notes: dict[str, Note] = Field(
        default={}, description="names of levels, each with a line on what it means, for the report"
    )
    limits: Limits = Field(
        default_factory=Limits, description="upper bounds on what a study may take"
    )
    slurm: Annotated[Any, WithJsonSchema({"type": ["string", "object"]})] = Field(
        default=None, description="cluster profile to run on, or its name with settings to change"
    )

    @field_validator("baseline")
    @classmethod
    def _check_baseline(cls, baseline: Node) -> Node:
        problems = []
        if not baseline.children:
            message = "`{key}` is missing: the settings that all trials share"
            problems.append(KeyProblem(f"{message}; got {baseline.plain()!r}"))
        for key in baseline.children:
            if key == "seed":
                message = "`seed` is not a setting of the baseline; write `seeds` in the study"
                problems.append(KeyProblem(message, (key,)))
            elif key not in SETTINGS:
                message = f"unknown key `{key}` of `baseline`{did_you_mean(key, SETTINGS)}"
                problems.append(KeyProblem(message, (key,)))
        raise_any(problems)
        return baseline

    @field_validator("probes")
    @classmethod
    def _check_probes(cls, probes: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        raise_any(find_probe_problems(probes))
        tasks = info.data.get("tasks")
        if tasks is None:
            return probes
        return {name: {"tasks": tasks, **probe} for name, probe in probes.items()}

    @field_validator("score")
    @classmethod
    def _check_score(cls, score: str, info: ValidationInfo) -> str:
        raise_any(find_score_problems(score, info.data.get("probes")))
        return score

    @field_validator("factors")
    @classmethod
    def _check_factors(cls, factors: FactorsByName, info: ValidationInfo) -> FactorsByName:
        problems = list(find_factor_problems(factors, info.data.get("baseline"), SETTINGS))
        if PROBE in factors and "probes" in info.data:
            problems += find_unknown_probes(factors[PROBE], info.data["probes"])
        raise_any(problems)
        return factors

    @field_validator("zip_groups")
    @classmethod
    def _check_zip(cls, groups: Any, info: ValidationInfo) -> Any:
        if "factors" in info.data:
            factors = info.data["factors"]
            zipped = {name for group in groups for name in group}  # may keep a value
            problems = list(find_zip_problems(groups, factors))
            for name in factors.keys() - zipped:
                problems += find_equal_levels(name, factors[name])
            raise_any(problems)
        return groups

    @field_validator("when")
    @classmethod
    def _check_when(cls, when: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if "factors" in info.data:
            raise_any(find_when_problems(when, info.data["factors"]))
        return when

    @field_validator("exclude")
    @classmethod
    def _check_exclude(cls, conditions: Any, info: ValidationInfo) -> Any:
        if "factors" in info.data:
            raise_any(
                problem.inside((str(i),))
                for i, condition in enumerate(conditions)
                for problem in find_condition_problems(condition, info.data["factors"])
            )
        return conditions

    @field_validator("variant_levels")
    @classmethod
    def _check_variants(cls, variants: Any, info: ValidationInfo) -> Any:
        kind = info.data.get("design_kind", "list" if variants else "grid")
        raise_any(find_variant_problems(kind, variants, info.data.get("factors")))
        return variants

    @field_validator("sweep")
    @classmethod
    def _check_sweep(cls, sweep: Sweep, info: ValidationInfo) -> Sweep:
        seeds = list_seeds(info.data["seed_plan"]) if "seed_plan" in info.data else ()
        problems = list(find_sweep_problems(sweep, info.data.get("factors"), seeds, SETTINGS))
        if info.data.get("zip_groups"):
            message = "`zip` and `sweep` do not go together; tune the factors apart"
            problems.append(KeyProblem(message, ("zip",), absolute=True))
        raise_any(problems)
        return sweep

    @field_validator("match_budget", mode="before")
    @classmethod
    def _check_match_budget(cls, resource: Any, info: ValidationInfo) -> Any:
        raise_any(find_budget_problems(resource, info.data))
        return resource

    @field_validator("confirm")
    @classmethod
    def _check_confirm(cls, confirm: Confirm, info: ValidationInfo) -> Confirm:
        if info.data.get("factors") == {} and info.data.get("sweep") is None:
            message = "`confirm` has nothing to choose from: the study has no `factors`"
            raise_any([KeyProblem(message)])
        return confirm

    @field_validator("evaluate")
    @classmethod
    def _set_score(cls, evaluate: Evaluate, info: ValidationInfo) -> Evaluate:
        if not evaluate.score:
            return evaluate.model_copy(update={"score": info.data.get("score")})
        problems = find_score_problems(evaluate.score, info.data.get("probes"))
        raise_any(problem.inside(("score",)) for problem in problems)
        return evaluate

    @field_validator("notes")
    @classmethod
    def _check_notes(cls, notes: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        if "factors" in info.data:
            labels = {label for levels in info.data["factors"].values() for label in levels}
            raise_any(
                KeyProblem(
                    f"`notes` explains `{label}`, which is not a level"
                    f"{did_you_mean(label, labels)}",
                    (label,),
                )
                for label in notes
                if label not in labels
            )
        return notes

    @field_validator("limits")
    @classmethod
    def _check_limits(cls, limits: Limits, info: ValidationInfo) -> Limits:
        if not limits.model_fields_set:
            names = ", ".join(Limits.model_fields)
            raise_any([KeyProblem(f"`{{key}}` must hold one of {names}; got {{}}")])
        if info.data.get("sweep") is not None:
            message = "`limits` does not apply to a sweep's points"
            remedy = "use `sweep.trials` and `sweep.minutes`"
            raise_any([KeyProblem(f"{message}; {remedy}")])
        return limits


KEYS = tuple(key_names(StudyFile))
