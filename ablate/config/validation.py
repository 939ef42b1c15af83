"""How the keys of a study are validated: the base of all models, shared types, error messages.

Pydantic validates the plain values of a YAML tree. The tree then tells where each value was
written, so that a message reads `studies/masking.yaml:14: unknown key ...`.
"""

import dataclasses
import re
import typing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    Strict,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError

from ablate.config.tree import Node, Path
from ablate.core.suggest import did_you_mean

MAX_NAME_BYTES = 100  # per name or label; the name of a picture holds two of them
MAX_SEEDS = 10_000
RULE = "rule"  # type of the errors that `require` raises
MESSAGES = {  # pydantic's type of an error -> what is wrong with the value
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "string_type": "must be text",
    "too_short": "must not be empty",
}


def is_long_name(text: str) -> bool:
    """Returns whether a name or label is too long to be part of a file's name."""
    return len(text.encode()) > MAX_NAME_BYTES


class StudySection(BaseModel):
    """A mapping of a study file whose keys are the fields of the model."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True, defer_build=True
    )


@dataclass(frozen=True)
class KeyProblem:
    """One mistake in a study file."""

    message: str  # in it, `{key}` stands for the dotted path, and `{section}` for that above it
    path: Path = ()  # keys from the value that is validated
    place: str | None = None  # file and line; None: those of the value at `path`

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"

    @property
    def text(self) -> str:
        """The message with the names of keys filled in."""
        # positions in lists are left out: the line of the file shows them
        key, section = (
            ".".join(key for key in path if not key.isdigit())
            for path in (self.path, self.path[:-1])
        )
        message = self.message if section else self.message.replace(" of `{section}`", "")
        return message.replace("{key}", key).replace("{section}", section)

    def located(self, tree: Node) -> "KeyProblem":
        """Returns the problem with its place in the tree that holds `path`."""
        place = self.place or tree.nearest(self.path).place
        return dataclasses.replace(self, place=place)

    def inside(self, outer: Path) -> "KeyProblem":
        """Returns the problem of a value that lies at the path `outer`."""
        return dataclasses.replace(self, path=(*outer, *self.path))


class SectionError(ValueError):
    """Several mistakes that one validator has found."""

    def __init__(self, problems: Iterable[KeyProblem]) -> None:
        self.problems = list(problems)
        super().__init__("; ".join(problem.message for problem in self.problems))


def raise_any(problems: Iterable[KeyProblem]) -> None:
    """Raises `SectionError` unless there are none."""
    error = SectionError(problems)
    if error.problems:
        raise error


def require(rule: str) -> WrapValidator:
    """Replaces every error inside an annotated type by one message, such as "must be above 0".

    Null is refused as well; the type may include None only as the default for a missing key.
    """

    def check(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
        try:
            if value is not None:
                return validate(value)
        except ValidationError:
            pass
        raise PydanticCustomError(RULE, "{rule}", {"rule": rule})

    return WrapValidator(check)


def seed_list(first: int, rule: str) -> PlainValidator:
    """Reads seeds: a list, or a count, which stands for consecutive seeds from `first` on."""

    def read(value: Any) -> tuple[int, ...]:
        if (value if type(value) is int else 0) > MAX_SEEDS:
            rule_of_size = f"must be {MAX_SEEDS} seeds at most"
            raise PydanticCustomError(RULE, "{rule}", {"rule": rule_of_size})
        if isinstance(value, str) and value.isdecimal():
            raise PydanticCustomError(RULE, "{rule}", {"rule": "must be written without quotes"})
        seeds = list(range(first, first + value)) if type(value) is int else value
        valid = isinstance(seeds, list) and all(type(seed) is int and seed >= 0 for seed in seeds)
        if not valid or not seeds or len(set(seeds)) < len(seeds):
            raise PydanticCustomError(RULE, "{rule}", {"rule": rule})
        return tuple(seeds)

    count, seed = Annotated[int, Field(ge=1)], Annotated[int, Field(ge=0)]
    listed = Annotated[list[seed], Field(min_length=1)]  # type: ignore[valid-type]
    return PlainValidator(read, json_schema_input_type=count | listed)


def one_or_more(item: Any) -> BeforeValidator:
    """Lets a single item stand for a list of one."""
    return BeforeValidator(
        lambda value: value if isinstance(value, list | tuple) else [value],
        json_schema_input_type=item | list[item],
    )


def _not_null(value: Any) -> Any:
    if value is None:
        raise PydanticCustomError("dict_type", "must be a mapping")
    return value


T = typing.TypeVar("T")
Tuple = Annotated[tuple[T, ...], Strict(strict=False)]  # YAML has lists
Scalar = str | int | float | bool | None
Count = Annotated[int, Field(ge=1), require("must be a count from 1 up")]
NOT_NULL = BeforeValidator(_not_null)  # for a section that may be missing, but not empty


def key_names(model: type[BaseModel]) -> dict[str, str]:
    """Returns the keys of a section as YAML spells them, each with the name of its field."""
    return {field.alias or name: name for name, field in model.model_fields.items()}


def list_problems(
    error: ValidationError, tree: Node, model: type[BaseModel]
) -> Iterator[KeyProblem]:
    """Yields every problem of a mapping, with its place.

    Args:
        error: what validating `tree` with `model` raised.
        tree: the mapping that was validated.
        model: its model, which knows the keys that may be meant by an unknown one.
    """
    for problem in _list_errors(error, tree, model):
        yield problem.located(tree)


def _list_errors(
    error: ValidationError, tree: Node, model: type[BaseModel]
) -> Iterator[KeyProblem]:
    for details in error.errors(include_url=False):
        location = tuple(map(str, details["loc"]))
        path = tuple(key for key in location if not _is_tag(key))
        cause = details.get("ctx", {}).get("error")
        if not isinstance(cause, SectionError):
            yield KeyProblem(_message(details, location, tree, model), path)
            continue
        yield from (problem.inside(path) for problem in cause.problems)


def _is_tag(key: str) -> bool:
    """Whether a part of a location is no key, but the tag of one member of a union: `<name>`."""
    return key.startswith("<")


def _message(details: ErrorDetails, location: Path, tree: Node, model: type[BaseModel]) -> str:
    path = tuple(key for key in location if not _is_tag(key))
    kind, node = details["type"], tree.nearest(path)
    if kind == "extra_forbidden":
        hint = did_you_mean(path[-1], key_names(_get_section(model, location[:-1])))
        return f"unknown key `{path[-1]}` of `{{section}}`{hint}"
    if kind == "missing":
        section_model = _get_section(model, location[:-1])
        field = section_model.model_fields[key_names(section_model)[path[-1]]]
        value = f"; got {node.plain()!r}" if path[:-1] else ""
        return f"`{{key}}` is missing: {field.description}{value}"
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'", str(details["ctx"]["expected"]))
        hint = did_you_mean(str(node.value), choices)
        return f"unknown value `{node.plain()}` of `{{key}}`{hint}"
    if kind == "value_error":
        return str(details["ctx"]["error"])
    if kind in MESSAGES:
        above, section = _find_field(model, location)
        rule = f"{MESSAGES[kind]}{_format_keys(section)}: {above.description if above else ''}"
        return f"`{{key}}` {rule}; got {node.plain()!r}"
    return f"`{{key}}` {details['msg']}; got {node.plain()!r}"


def _find_field(
    model: type[BaseModel], path: Path
) -> tuple[FieldInfo | None, type[BaseModel] | None]:
    """Returns the field of the last key in a path that is a field, and the section at its end.

    The tag of a member of a union is the name of its class, as `<SeedGrowth>`.
    """
    field: FieldInfo | None = None
    section: type[BaseModel] | None = model
    for key in path:
        if _is_tag(key) and field is not None:
            sections = {f"<{one.__name__}>": one for one in _sections(field.annotation)}
            section = sections.get(key)
            continue
        if section is None or key not in key_names(section):
            return field, None
        field = section.model_fields[key_names(section)[key]]
        section = next(_sections(field.annotation), None)
    return field, section


def _format_keys(section: type[BaseModel] | None) -> str:
    """Formats the keys that a section must have; all that it may have, if none is required."""
    if section is None:
        return ""
    names = key_names(section).items()
    required = [key for key, name in names if section.model_fields[name].is_required()]
    return f" with {', '.join(required or key_names(section))}"


def _get_section(model: type[BaseModel], path: Path) -> type[BaseModel]:
    section = _find_field(model, path)[1]
    assert section is not None
    return section


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from _sections(inner)
