"""The usual hidden cause: levels that differ in how much audio they show, or ask for.

A plan warns of it before anything is run, and a report once it is; both in these words.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

NOTABLE = 0.02  # of the grid: a greater difference is worth a warning
MOST_NAMES = 8  # levels whose shares are all told; of more, the least and the most
SHARES = {"context": "the amount of audio seen", "targets": "the amount to be predicted"}


@dataclass(frozen=True, kw_only=True)
class Shares:
    """What a variant's masks amount to, as shares of the grid, 0 to 1; None where unknown."""

    levels: Mapping[str, str]  # factor -> label
    context: float | None
    targets: float | None


def warnings(variants: Sequence[Shares]) -> list[str]:
    """Warns, once per factor and share, of levels that differ, all else being equal."""
    factors = dict.fromkeys(factor for variant in variants for factor in variant.levels)
    return [
        warning
        for factor in factors
        for name in SHARES
        if (warning := _of(factor, name, variants)) is not None
    ]


def _of(factor: str, name: str, variants: Sequence[Shares]) -> str | None:
    """Warns of the combination whose levels differ most, and names the share of each."""
    groups = list(_groups(factor, name, variants))
    if not groups:
        return None
    group = max(groups, key=lambda group: (round(_spread(group, name), 2), len(group)))
    if _spread(group, name) <= NOTABLE + 1e-9:  # 42 % and 40 % are 2 points apart, in floats too
        return None
    if len(group) > MOST_NAMES:
        group = [min(group, key=_share(name)), max(group, key=_share(name))]
    others = ", ".join(label for key, label in group[0].levels.items() if key != factor)
    shares = ", ".join(f"{of.levels[factor]} {100 * _share(name)(of):.0f} %" for of in group)
    return (
        f"Levels of {factor} differ in their realised {name}"
        f"{f' (with {others})' if others else ''}: {shares} of the grid. Part of a "
        f"difference in score may be {SHARES[name]} and not the {_what(factor)}."
    )


def _groups(factor: str, name: str, variants: Sequence[Shares]) -> Iterator[list[Shares]]:
    """Yields the variants that differ in one factor alone, as many as there are, in order."""
    groups: dict[tuple[tuple[str, str], ...], list[Shares]] = {}
    for variant in variants:
        if factor in variant.levels and getattr(variant, name) is not None:
            held = tuple(pair for pair in variant.levels.items() if pair[0] != factor)
            groups.setdefault(held, []).append(variant)
    yield from groups.values()


def _spread(group: Sequence[Shares], name: str) -> float:
    shares = [*map(_share(name), group)]
    return max(shares) - min(shares)


def _share(name: str) -> Callable[[Shares], float]:
    return lambda variant: float(getattr(variant, name))


def _what(factor: str) -> str:
    zipped = factor.split(" + ")
    masks = any(one.split(".")[0] == "masker" for one in zipped)
    return "shape of the mask" if masks else factor
