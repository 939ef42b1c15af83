"""Enumerates the combinations of levels of a study, without factors that have no effect in them.

A factor has no effect where its `when` does not hold, and where the level of another factor has no
place for it, such as the width of a projector that is switched off.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

from ablate.config.design import BASELINE, Condition, Design
from ablate.config.study import StudyError
from ablate.design.factors import Factor, Level

Levels = dict[str, str]  # factor -> label
MAX_COMBINATIONS = 1_000_000  # per grid, before it is reduced


def enumerate_combinations(design: Design, varied: Sequence[Factor]) -> list[tuple[Levels, int]]:
    """Lists the different combinations, and how many combinations of the design each replaces.

    Raises:
        StudyError: there are too many combinations; everything is excluded, or the combination that
            the others are compared with is;
            or a variant of a list names levels of zipped factors that do not vary together.
    """
    if design.kind == "grid":
        num_combinations = math.prod(len(factor.levels) for factor in varied)
        if num_combinations > MAX_COMBINATIONS:
            rule = f"a grid may have {MAX_COMBINATIONS}; vary less, or use another `design`"
            raise StudyError([f"`factors` have {num_combinations} combinations of levels; {rule}"])
    counts: dict[tuple[tuple[str, str], ...], int] = {}
    reference = {factor.name: factor.baseline for factor in varied}
    for levels in _list_designed(design, varied, reference):
        if not _is_excluded(design, varied, levels):
            kept = tuple(_drop_idle_factors(design, varied, levels).items())
            counts[kept] = counts.get(kept, 0) + 1
    if not counts or (design.kind != "grid" and _is_excluded(design, varied, reference)):
        what = "every combination" if not counts else "what all variants are compared with"
        raise StudyError([f"`exclude` leaves out {what}"])
    return [(dict(levels), count) for levels, count in counts.items()]


def _list_designed(design: Design, varied: Sequence[Factor], reference: Levels) -> Iterator[Levels]:
    if design.kind == "grid":
        for labels in itertools.product(*(factor.levels for factor in varied)):
            yield dict(zip(reference, labels, strict=True))
        return
    yield reference
    if design.kind == "list":
        for variant in design.variants:
            yield {**reference, **dict(_find_named_levels(varied, variant))}
        return
    for factor in varied:
        for label in factor.levels:
            if label != factor.baseline:
                yield {**reference, factor.name: label}


def _find_named_levels(
    varied: Sequence[Factor], variant: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Yields the levels that a variant of a list names, zipped factors by any of their members."""
    for factor in varied:
        labels = {name: variant[name] for name in factor.members if name in variant}
        if not labels:
            continue
        matches = [
            label
            for label in factor.levels
            if all(own in _list_labels(factor, label)[name] for name, own in labels.items())
        ]
        if not matches:
            raise StudyError([f"`variants`: no level of `{factor.name}` is {labels}"])
        yield factor.name, matches[0]


def _is_excluded(design: Design, varied: Sequence[Factor], levels: Levels) -> bool:
    labels = _collect_labels(varied, levels)
    return any(_is_met(condition, labels) for condition in design.exclude)


def _drop_idle_factors(design: Design, varied: Sequence[Factor], levels: Levels) -> Levels:
    """Returns the levels without those that have no effect beside the others."""
    kept = dict(levels)
    while True:
        labels = _collect_labels(varied, kept)
        chosen = [factor.levels[kept[factor.name]] for factor in varied if factor.name in kept]
        idle = [
            factor.name
            for factor in varied
            if factor.name in kept
            and not (
                all(_is_met(design.when.get(name, {}), labels) for name in factor.members)
                and _has_place(factor, chosen)
            )
        ]
        if not idle:
            return kept
        for name in idle:
            del kept[name]


def _collect_labels(varied: Sequence[Factor], levels: Levels) -> dict[str, set[str]]:
    """Returns every label by which conditions can name the levels, by member of the factors."""
    labels: dict[str, set[str]] = {}
    for factor in varied:
        if factor.name in levels:
            labels |= _list_labels(factor, levels[factor.name])
    return labels


def _list_labels(factor: Factor, label: str) -> dict[str, set[str]]:
    """Returns the labels of a level by member, with `baseline` if it is the study's baseline."""
    baseline = factor.written_baseline or factor.baseline
    also = {BASELINE} if label == baseline and BASELINE not in factor.levels else set()
    return {name: {own, *also} for name, own in factor.levels[label].labels.items()}


def _is_met(condition: Condition, labels: Mapping[str, set[str]]) -> bool:
    return all(labels.get(name, set()) & set(wanted) for name, wanted in condition.items())


def _has_place(factor: Factor, chosen: Sequence[Level]) -> bool:
    """Returns whether the branches of the other levels have a place for the factor's setting."""
    paths = [tuple(name.split(".")) for name in factor.members]
    outer = [
        branch.nearest(path[len(above) : -1])
        for level in chosen
        for above, branch in level.changes
        for path in paths
        if len(above) < len(path) and path[: len(above)] == above
    ]
    return all(isinstance(branch.value, dict) for branch in outer)
