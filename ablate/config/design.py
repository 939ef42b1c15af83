"""How a study combines the levels of its factors: grid or other design, zip, when, exclude."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator
from pydantic_core import PydanticCustomError

from ablate.config.tree import Node, to_yaml_scalar
from ablate.config.validation import RULE, KeyProblem, Scalar, Tuple, require
from ablate.core.suggest import did_you_mean

BASELINE = "baseline"  # label of a level that is added if none equals the baseline
Factors = Mapping[str, Mapping[str, Node]]
DesignKind = Literal["grid", "one_factor", "leave_one_out", "list"]


def _read_labels(value: Any) -> tuple[str, ...]:
    labels = value if isinstance(value, list | tuple) else [value]
    if any(isinstance(label, list | dict) for label in labels):
        raise PydanticCustomError(RULE, "must be a label or a list of labels")
    return tuple(map(to_yaml_scalar, labels))


Labels = Annotated[
    tuple[str, ...], PlainValidator(_read_labels, json_schema_input_type=Scalar | list[Scalar])
]
Condition = Annotated[  # factor -> the levels that meet the condition
    dict[str, Labels],
    Field(min_length=1),
    require("must hold levels of factors, such as `{masker: block}`"),
]
ZipGroup = Annotated[
    Tuple[str],
    Field(min_length=2),
    require("must list groups of two or more factors: `zip: [[encoder, optimizer.rate]]`"),
]


@dataclass(frozen=True, kw_only=True)
class Design:
    """Which combinations of levels a study has."""

    kind: DesignKind = "grid"
    zip_groups: tuple[tuple[str, ...], ...] = ()  # factors that vary together, level by level
    when: dict[str, Condition] = field(default_factory=dict)  # factor -> where it varies
    exclude: tuple[Condition, ...] = ()  # a combination that meets one of them is left out
    variants: tuple[dict[str, str], ...] = ()  # combinations of `design: list`


def find_zip_problems(
    groups: tuple[tuple[str, ...], ...], factors: Factors
) -> Iterator[KeyProblem]:
    """Yields what is wrong with groups of factors that vary together."""
    used: set[str] = set()
    for i, names in enumerate(groups):
        path = (str(i),)
        unknown = [name for name in names if name not in factors]
        for name in unknown:
            yield _unknown_factor(name, factors, path)
        counts = {name: len(factors[name]) for name in names if factors.get(name)}
        if not unknown and len(set(counts.values())) > 1:
            sizes = ", ".join(f"{name} has {count}" for name, count in counts.items())
            yield KeyProblem(f"zipped factors need equal numbers of levels: {sizes}", path)
        elif used & set(names) or len(set(names)) < len(names):
            yield KeyProblem(f"a factor can be zipped only once; got {list(names)}", path)
        used |= set(names)


def find_when_problems(when: Mapping[str, Condition], factors: Factors) -> Iterator[KeyProblem]:
    """Yields what is wrong with the conditions under which factors vary."""
    for name, condition in when.items():
        if name not in factors:
            yield _unknown_factor(name, factors, (name,))
        elif name in condition:
            yield KeyProblem(f"factor `{name}` cannot depend on itself", (name,))
        for problem in find_condition_problems(condition, factors):
            yield KeyProblem(problem.message, (name, *problem.path))


def find_condition_problems(condition: Condition, factors: Factors) -> Iterator[KeyProblem]:
    """Yields the factors and levels of a condition that the study does not have."""
    for name, labels in condition.items():
        if name not in factors:
            yield _unknown_factor(name, factors, (name,))
            continue
        levels = (*factors[name], BASELINE)
        for label in labels if factors[name] else ():  # an invalid factor has no levels
            if label not in levels:
                hint = did_you_mean(label, levels)
                yield KeyProblem(f"factor `{name}` has no level `{label}`{hint}", (name,))


def find_variant_problems(
    variants: tuple[Condition, ...], factors: Factors | None
) -> Iterator[KeyProblem]:
    """Yields what is wrong with a list of variants; `factors` is None if they are invalid."""
    for i, variant in enumerate(variants):
        for problem in find_condition_problems(variant, factors or {}) if factors else ():
            yield KeyProblem(problem.message, (str(i), *problem.path))
        for name, labels in variant.items():
            if len(labels) != 1:
                message = f"a variant has one level of `{name}`; got {list(labels)}"
                yield KeyProblem(message, (str(i), name))


def _unknown_factor(name: str, factors: Factors, path: tuple[str, ...]) -> KeyProblem:
    hint = did_you_mean(name, factors)
    return KeyProblem(f"`{{section}}` names no factor of the study: `{name}`{hint}", path)
