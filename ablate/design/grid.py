"""Which combinations of levels a study has; each once, without the factors that mean nothing in it.

A factor means nothing where its `when` does not hold, and where another factor has put something
without settings in its place: the width of a projector that is switched off.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence

from ablate.config.design import BASELINE, Condition, Design
from ablate.config.study import StudyError
from ablate.design.factors import Factor, Level

Levels = dict[str, str]  # factor -> label


def combinations(design: Design, varied: Sequence[Factor]) -> list[tuple[Levels, int]]:
    """Lists the different combinations, and how many of the design's each stands for.

    Raises `StudyError` where all of them are excluded, or what they are compared with is, and
    where a variant of a list names levels that do not move together.
    """
    counts: dict[tuple[tuple[str, str], ...], int] = {}
    reference = {factor.name: factor.baseline for factor in varied}
    for levels in _designed(design, varied, reference):
        if not _excluded(design, varied, levels):
            kept = tuple(_applying(design, varied, levels).items())
            counts[kept] = counts.get(kept, 0) + 1
    if not counts or (design.kind != "grid" and _excluded(design, varied, reference)):
        what = "every combination" if not counts else "what all variants are compared with"
        raise StudyError([f"`exclude` leaves out {what}"])
    return [(dict(levels), count) for levels, count in counts.items()]


def _designed(design: Design, varied: Sequence[Factor], reference: Levels) -> Iterator[Levels]:
    if design.kind == "grid":
        for labels in itertools.product(*(factor.levels for factor in varied)):
            yield dict(zip(reference, labels, strict=True))
        return
    yield reference
    if design.kind == "list":
        for variant in design.variants:
            yield {**reference, **dict(_named(varied, variant))}
        return
    for factor in varied:
        for label in factor.levels:
            if label != factor.baseline:
                yield {**reference, factor.name: label}


def _named(varied: Sequence[Factor], variant: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yields the levels that a variant of a list names, zipped factors by any of their members."""
    for factor in varied:
        asked = {name: variant[name] for name in factor.members if name in variant}
        if not asked:
            continue
        meant = [
            label
            for label in factor.levels
            if all(word in _words(factor, label)[name] for name, word in asked.items())
        ]
        if not meant:
            raise StudyError([f"`variants`: no level of `{factor.name}` is {asked}"])
        yield factor.name, meant[0]


def _excluded(design: Design, varied: Sequence[Factor], levels: Levels) -> bool:
    labels = _labels(varied, levels)
    return any(_holds(condition, labels) for condition in design.exclude)


def _applying(design: Design, varied: Sequence[Factor], levels: Levels) -> Levels:
    """Returns the levels less those that mean nothing beside the others."""
    kept = dict(levels)
    while True:
        labels = _labels(varied, kept)
        chosen = [factor.levels[kept[factor.name]] for factor in varied if factor.name in kept]
        gone = [
            factor.name
            for factor in varied
            if factor.name in kept
            and not (
                all(_holds(design.when.get(name, {}), labels) for name in factor.members)
                and _has_place(factor, chosen)
            )
        ]
        if not gone:
            return kept
        for name in gone:
            del kept[name]


def _labels(varied: Sequence[Factor], levels: Levels) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for factor in varied:
        if factor.name in levels:
            found |= _words(factor, levels[factor.name])
    return found


def _words(factor: Factor, label: str) -> dict[str, set[str]]:
    """Returns what each member's level may be called; `baseline` where that is no level's name."""
    own = factor.written or factor.baseline
    also = {BASELINE} if label == own and BASELINE not in factor.levels else set()
    return {name: {own, *also} for name, own in factor.levels[label].labels.items()}


def _holds(condition: Condition, labels: Mapping[str, set[str]]) -> bool:
    return all(labels.get(name, set()) & set(wanted) for name, wanted in condition.items())


def _has_place(factor: Factor, chosen: Sequence[Level]) -> bool:
    """Tells whether what the other levels write has settings where the factor has its own."""
    paths = [tuple(name.split(".")) for name in factor.members]
    outer = [
        branch.nearest(path[len(above) : -1])
        for level in chosen
        for above, branch in level.changes
        for path in paths
        if len(above) < len(path) and path[: len(above)] == above
    ]
    return all(isinstance(branch.value, dict) for branch in outer)
