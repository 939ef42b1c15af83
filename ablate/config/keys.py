"""The keys of a study file, as a model that validates each of them and documents it."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints, WithJsonSchema, field_validator

from ablate.config.design import Condition, DesignKind, ZipGroup
from ablate.config.factors import FactorsByName
from ablate.config.sections import (
    Confirm,
    Evaluate,
    Limits,
    MatchBudget,
    RandomInits,
    Report,
)
from ablate.config.seeds import Seeds
from ablate.config.sweep import Sweep
from ablate.config.tree import Node
from ablate.config.validation import (
    MAX_NAME_BYTES,
    NOT_NULL,
    KeyProblem,
    StudySection,
    Tuple,
    is_long_name,
    key_names,
    raise_any,
    require,
)

DEFAULT_PROBES: dict[str, dict[str, Any]] = {
    "knn": {"type": "ablate.probing.knn.KNN", "k": 10},
    "linear": {"type": "ablate.probing.linear.Logistic"},
}
DEFAULT_SCORE = "knn.mean_std"  # does not favour a shape of patches
SETTINGS = {  # what a trial is made of, besides its seed
    "data": "clips to train on",
    "mel": "log-mel front end",
    "view": "noise, mixtures and other changes that the context encoder sees",
    "target_view": "changes that the target is computed from; by default it is the clip itself",
    "symmetric": "whether the two views also exchange their roles, so that a step uses both twice",
    "crop_frames": "length of a training crop in mel frames",
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


def _name_files(text: str) -> str:
    if is_long_name(text):
        raise ValueError("too long for the name of a file")
    return text


class StudyFile(StudySection):
    """The keys of a study file, each valid in itself; `conflicts.py` checks them together."""

    name: Annotated[
        str,
        StringConstraints(pattern=r"^\w[\w.+-]*$"),
        AfterValidator(_name_files),
        require(
            f"must be a name of letters, digits, `_`, `-`, `+`, `.`, {MAX_NAME_BYTES} bytes at most"
        ),
    ] = Field(alias="study", description="the name of the report's folder")
    baseline: Annotated[Node, WithJsonSchema({"type": "object"})] = Field(
        description="the settings that all trials share"
    )
    description: str = Field(
        default="",
        description="what the study asks; its first line is the title of the report",
    )
    tasks: Annotated[dict[str, Any] | None, NOT_NULL] = Field(
        default=None,
        description="clips to probe on, unless a probe names its own; default: `data`",
    )
    probes: dict[str, dict[str, Any]] = Field(
        default=DEFAULT_PROBES,
        min_length=1,
        description="name of a probe -> its settings, among them `type`",
    )
    score: str = Field(
        default=DEFAULT_SCORE,
        description="probe.pooling or probe.layer3.pooling, the mean over tasks; higher is better",
    )
    factors: FactorsByName = Field(
        default={}, description="settings to vary, by dotted path; each level replaces that branch"
    )
    design_kind: DesignKind = Field(
        default="grid",
        alias="design",
        description="combinations of levels to train; `list`: those in `variants`",
    )
    zip_groups: Tuple[ZipGroup] = Field(
        default=(),
        alias="zip",
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
        description="combinations of `design: list`; the other factors are at their baseline",
    )
    seed_plan: Seeds = Field(
        alias="seeds",
        description="seeds of every variant: a number, a list, a growing number, or seeds for "
        "each purpose",
    )
    sweep: Annotated[Sweep | None, NOT_NULL] = Field(
        default=None, description="tunes settings of every variant before its seeds are trained"
    )
    random_inits: RandomInits = Field(
        default=4,
        description="untrained encoders per seed whose mean score a gain subtracts, in studies "
        "whose encoders differ before training; they are only scored, by every probe",
    )
    match_budget: MatchBudget | None = Field(
        default=None, description="resource of which every variant gets as much as the baseline"
    )
    confirm: Annotated[Confirm | None, NOT_NULL] = Field(
        default=None, description="retrains the leading variants on fresh seeds"
    )
    evaluate: Annotated[Evaluate | None, NOT_NULL] = Field(
        default=None, description="scores encoders during training, to warn early; it stops nothing"
    )
    report: Report = Field(default_factory=Report, description="how the report decides")
    notes: dict[str, Note] = Field(
        default={}, description="label of a level -> one line that explains it in the report"
    )
    limits: Limits = Field(
        default_factory=Limits, description="upper bounds on what a study may take"
    )
    notify: str = Field(
        default="",
        description="command, or name of an environment variable with the URL of a webhook, "
        "`${NAME}`, that is told when the study has ended; default: the environment variable "
        "`ABLATE_NOTIFY`",
    )
    slurm: Annotated[Any, WithJsonSchema({"type": ["string", "object"]})] = Field(
        default=None,
        description="cluster profile: its name, or `profile` and settings to change",
    )

    @field_validator("match_budget", mode="before")
    @classmethod
    def _explain_seconds(cls, resource: Any) -> Any:
        if resource is None:
            raise_any([KeyProblem("`{key}` must be one of steps, clips, flops; got None")])
        if resource == "seconds":
            message = "seconds depend on what else the machine is doing; match `flops`"
            raise_any([KeyProblem(f"`{{key}}`: {message}, and cap hours with `limits`")])
        return resource


KEYS = tuple(key_names(StudyFile))
