"""Selects trials of a study by their levels and seeds, as the command line writes them."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ablate.core.suggest import did_you_mean

SEED = "seed"
BETWEEN = r"[\s,]+(?=[\w.]+=)"  # separates conditions that are written in one text


class SelectionError(ValueError):
    """A selection that no trial fits; the message says what there is."""


@dataclass(frozen=True)
class TrialSelection:
    """Conditions that a trial must fit; several values of one factor are alternatives."""

    levels: Mapping[str, frozenset[str]]  # factor -> labels
    seeds: frozenset[int] | None  # None: every seed

    def fits(self, levels: Mapping[str, str], seed: int) -> bool:
        """Whether a trial of these levels, factor -> label, and this seed is selected."""
        return (self.seeds is None or seed in self.seeds) and all(
            levels.get(factor) in labels for factor, labels in self.levels.items()
        )


def is_condition(text: str, factors: Mapping[str, Collection[str]]) -> bool:
    """Whether a text such as `masker=block` names a level or a seed, and is no setting."""
    name, _, value = text.partition("=")
    return name == SEED or _find_label(value, factors.get(name, ())) is not None


def parse_selection(
    texts: Sequence[str], factors: Mapping[str, Collection[str]], seeds: Collection[int]
) -> TrialSelection:
    """Parses conditions: `masker=block`, `seed=0`, or several in one text.

    Args:
        texts: The conditions, in any number of texts.
        factors: The labels of every factor.
        seeds: The seeds of the study.

    Raises:
        SelectionError: If there is no such factor, level or seed.
    """
    levels: dict[str, set[str]] = {}
    chosen: set[int] = set()
    for text in [part for each in texts for part in re.split(BETWEEN, each.strip(" ,"))]:
        name, equals, value = text.partition("=")
        if not equals:
            raise SelectionError(f"`{text}`: expected FACTOR=LEVEL or seed=NUMBER")
        if name == SEED:
            chosen.add(_parse_seed(value, seeds))
        elif name not in factors:
            raise SelectionError(f"no factor `{name}`{did_you_mean(name, [*factors, SEED])}")
        elif (label := _find_label(value, factors[name])) is None:
            hint = did_you_mean(value, factors[name])
            raise SelectionError(f"no level `{value}` of `{name}`{hint}")
        else:
            levels.setdefault(name, set()).add(label)
    return TrialSelection(
        {name: frozenset(labels) for name, labels in levels.items()}, frozenset(chosen) or None
    )


def _parse_seed(value: str, seeds: Collection[int]) -> int:
    if not value.isdecimal() or int(value) not in seeds:
        raise SelectionError(f"no seed `{value}`; seeds: {', '.join(map(str, sorted(seeds)))}")
    return int(value)


def _find_label(value: str, labels: Collection[str]) -> str | None:
    """Finds a label by its text, or a number by its value: 1e-3 is 0.001."""
    if value in labels:
        return value
    number = _to_number(value)
    equal = (label for label in labels if number is not None and _to_number(label) == number)
    return next(equal, None)


def _to_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
