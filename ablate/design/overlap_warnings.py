"""Masks that show what they ask for, or that a guard had to change.

A plan warns of them before anything is run, and a report once it is; both in these words.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

NOTABLE = 0.01  # of the context: the least overlap with the targets worth a warning
GUARDED = 0.1  # of the masks


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """How a variant's masks came out; None where nobody knows, as in a plan of older code."""

    variant: str
    overlap: float | None  # share of context patches that are targets, too
    forced_overlap: float | None  # that part of it for which a guard is to blame
    changed: float | None  # share of masks that a guard had to change


def warnings(variants: Sequence[Drawn]) -> list[str]:
    """Warns of masks that give answers away and of guards, once each; overlap by design is told."""
    leaking = [v for v in variants if _exceeds(v.forced_overlap, NOTABLE)]
    guarded = [v for v in variants if _exceeds(v.changed, GUARDED)]
    meant = [v for v in variants if _exceeds(v.overlap, NOTABLE) and v not in leaking]
    lines = [
        [*_leaks(leaking), *_guards([v for v in guarded if v in leaking])],
        [*_guards([v for v in guarded if v not in leaking])],
        [*_meant(meant)],
    ]
    return [" ".join(line) for line in lines if line]


def _leaks(variants: Sequence[Drawn]) -> Iterator[str]:
    if variants:
        told = " and in ".join(f"{v.variant} {_percent(v.overlap)}" for v in variants)
        yield f"In {told} of the context is also a target: these masks give answers away."


def _guards(variants: Sequence[Drawn]) -> Iterator[str]:
    if variants:
        told = "; ".join(f"{_percent(v.changed)} of {v.variant}" for v in variants)
        yield (
            f"Masks changed by a guard, because none could be drawn as asked: {told}. What is "
            "compared is then the guard's mask as much as the masker's."
        )


def _meant(variants: Sequence[Drawn]) -> Iterator[str]:
    if variants:
        told = "; ".join(f"{_percent(v.overlap)} in {v.variant}" for v in variants)
        yield f"Part of the context is also a target, by design of the masker: {told}."


def _exceeds(share: float | None, least: float) -> bool:
    return share is not None and share > least


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f} %"
