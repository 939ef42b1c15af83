"""The usual hidden cause: levels that differ in how much audio they show, or ask for.

A plan warns of it before anything is run, and a report once it is; both in these words.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

NOTABLE = 0.02  # of the grid: a greater difference is worth a warning
SHARES = {"context": "the amount of audio seen", "targets": "the amount to be predicted"}


@dataclass(frozen=True, kw_only=True)
class Shares:
    """What a variant's masks amount to, as shares of the grid, 0 to 1; None where unknown."""

    levels: Mapping[str, str]  # factor -> label
    context: float | None
    targets: float | None


def warnings(variants: Sequence[Shares]) -> list[str]:
    """Warns, once per factor and share, of the levels that differ most, all else being equal."""
    factors = dict.fromkeys(factor for variant in variants for factor in variant.levels)
    return [
        warning
        for factor in factors
        for name in SHARES
        if (warning := _of(factor, name, variants)) is not None
    ]


def _of(factor: str, name: str, variants: Sequence[Shares]) -> str | None:
    pairs = list(_extremes(factor, name, variants))
    if not pairs:
        return None
    less, more = max(pairs, key=lambda pair: _share(pair[1], name) - _share(pair[0], name))
    low, high = _share(less, name), _share(more, name)
    if high - low <= NOTABLE + 1e-9:  # 42 % and 40 % are 2 points apart, whatever floats say
        return None
    others = ", ".join(label for key, label in less.levels.items() if key != factor)
    return (
        f"Levels of {factor} differ in their realised {name}: {100 * low:.0f} % of the grid for "
        f"{less.levels[factor]}, {100 * high:.0f} % for {more.levels[factor]}"
        f"{f' (with {others})' if others else ''}. Part of a difference in score may be "
        f"{SHARES[name]} and not the {_what(factor)}."
    )


def _extremes(
    factor: str, name: str, variants: Sequence[Shares]
) -> Iterator[tuple[Shares, Shares]]:
    """Yields, of the variants that differ in one factor alone, those with least and most."""
    groups: dict[tuple[tuple[str, str], ...], list[Shares]] = {}
    for variant in variants:
        if factor in variant.levels and getattr(variant, name) is not None:
            held = tuple(pair for pair in variant.levels.items() if pair[0] != factor)
            groups.setdefault(held, []).append(variant)
    for group in groups.values():
        shares = sorted(group, key=lambda variant: _share(variant, name))
        yield shares[0], shares[-1]


def _share(variant: Shares, name: str) -> float:
    return float(getattr(variant, name))


def _what(factor: str) -> str:
    return "shape of the mask" if factor.split(".")[0] == "masker" else factor
