"""Warnings about what could confound a comparison of masks; used by plans and by reports."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MIN_DIFFERENCE = 0.02  # difference in visible share that is worth a warning
MAX_NAMES = 8  # if more levels differ, only those with the least and the most are named
MIN_OVERLAP = 0.01  # share of context patches that are targets
MIN_FALLBACK = 0.1  # share of clips with a fallback mask
HEAD_MULTIPLE = 8  # heads of other widths prevent memory-efficient GPU kernels
SHARES = {"context": "the amount of audio seen", "targets": "the amount to be predicted"}


@dataclass(frozen=True, kw_only=True)
class MaskShares:
    """The realised shares of the grid in a variant's masks, 0 to 1; None if unknown."""

    levels: Mapping[str, str]  # factor -> label
    context: float | None
    targets: float | None


@dataclass(frozen=True, kw_only=True)
class MaskOverlap:
    """How much a variant's masks leak, and how often its masker fell back; None if unknown."""

    variant: str
    overlap: float | None  # share of context patches that are also targets
    forced_overlap: float | None  # the part of it that fallback masks are responsible for
    changed: float | None  # share of clips whose mask is a fallback


def share_warnings(variants: Sequence[MaskShares]) -> list[str]:
    """Warns, once per factor and share, of levels that differ while all else is equal."""
    factors = dict.fromkeys(factor for variant in variants for factor in variant.levels)
    return [
        warning
        for factor in factors
        for name in SHARES
        if (warning := _share_warning(factor, name, variants)) is not None
    ]


def overlap_warnings(variants: Sequence[MaskOverlap]) -> list[str]:
    """Warns of leakage, of fallback masks, and of overlap that a masker declares."""
    leaking = [v for v in variants if _exceeds(v.forced_overlap, MIN_OVERLAP)]
    fallback = [v for v in variants if _exceeds(v.changed, MIN_FALLBACK)]
    declared = [v for v in variants if _exceeds(v.overlap, MIN_OVERLAP) and v not in leaking]
    leaks = [
        f"{v.variant}: {_percent(v.overlap)} of context patches are also targets (leakage)."
        for v in leaking
    ]
    lines = [
        [*leaks, *_fallback_warning([v for v in fallback if v in leaking])],
        _fallback_warning([v for v in fallback if v not in leaking]),
        _declared_overlap(declared),
    ]
    return [" ".join(line) for line in lines if line]


def head_width_warnings(variants: Iterable[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """Warns of attention heads whose width no memory-efficient GPU kernel takes.

    `variants` holds pairs of a variant's name and its settings.
    """
    widths: dict[int, list[str]] = {}
    for variant, settings in variants:
        for part in settings.values():
            dim, heads = (
                (part.get("dim"), part.get("heads")) if isinstance(part, Mapping) else (None, None)
            )
            if isinstance(dim, int) and isinstance(heads, int) and dim // heads % HEAD_MULTIPLE:
                widths.setdefault(dim // heads, []).append(variant)
    return [
        f"On a GPU, attention with heads of {width} dimensions is computed slowly, over padded "
        f"batches: memory-efficient kernels take multiples of {HEAD_MULTIPLE}. It concerns "
        f"{'; '.join(dict.fromkeys(variants))}. Choose another `dim` or `heads`."
        for width, variants in sorted(widths.items())
    ]


def code_warnings(digests: Iterable[Mapping[str, str]]) -> list[str]:
    """Warns of parts whose source code differs between runs, or between runs and plan.

    `digests` holds a mapping per run and per planned trial: part -> digest of its source file.
    """
    seen: dict[str, set[str]] = {}
    for digests_by_part in digests:
        for name, digest in digests_by_part.items():
            seen.setdefault(name, set()).add(digest)
    changed = [f"`{name}`" for name, versions in seen.items() if len(versions) > 1]
    if not changed:
        return []
    return [
        f"The code of {', '.join(changed)} has changed since some of the runs were made. If its "
        "behaviour changed, raise the class attribute `version`; its runs are then made again."
    ]


def _share_warning(factor: str, name: str, variants: Sequence[MaskShares]) -> str | None:
    """Returns a warning about the combination whose levels differ most."""
    groups = list(_groups(factor, name, variants))
    if not groups:
        return None
    group = max(groups, key=lambda group: (round(_spread(group, name), 2), len(group)))
    if _spread(group, name) <= MIN_DIFFERENCE + 1e-9:  # 0.42 - 0.40 exceeds 0.02 in floats
        return None
    if len(group) > MAX_NAMES:
        group = [min(group, key=_share(name)), max(group, key=_share(name))]
    others = ", ".join(label for key, label in group[0].levels.items() if key != factor)
    shares = ", ".join(f"{v.levels[factor]} {100 * _share(name)(v):.0f} %" for v in group)
    return (
        f"Levels of {factor} differ in their realised {name}"
        f"{f' (with {others})' if others else ''}: {shares} of the grid. Part of a "
        f"difference in score may be due to {SHARES[name]} and not to the {_subject(factor)}."
    )


def _groups(factor: str, name: str, variants: Sequence[MaskShares]) -> Iterator[list[MaskShares]]:
    """Yields groups of variants that differ only in one factor."""
    groups: dict[tuple[tuple[str, str], ...], list[MaskShares]] = {}
    for variant in variants:
        if factor in variant.levels and getattr(variant, name) is not None:
            others = tuple(pair for pair in variant.levels.items() if pair[0] != factor)
            groups.setdefault(others, []).append(variant)
    yield from groups.values()


def _spread(group: Sequence[MaskShares], name: str) -> float:
    shares = [*map(_share(name), group)]
    return max(shares) - min(shares)


def _share(name: str) -> Callable[[MaskShares], float]:
    return lambda variant: float(getattr(variant, name))


def _subject(factor: str) -> str:
    zipped = factor.split(" + ")
    masks = any(name.split(".")[0] == "masker" for name in zipped)
    return "shape of the mask" if masks else factor


def _fallback_warning(variants: Sequence[MaskOverlap]) -> list[str]:
    shares = " and ".join(f"for {_percent(v.changed)} of clips `{v.variant}`" for v in variants)
    whose = "its" if len(variants) == 1 else "their"
    return [
        f"Fallback masks: {shares} could not satisfy {whose} settings. The scores compare the "
        "fallback as much as the masker."
    ][: len(variants)]


def _declared_overlap(variants: Sequence[MaskOverlap]) -> list[str]:
    shares = "; ".join(f"{v.variant}, {_percent(v.overlap)} of the context" for v in variants)
    return [f"Context and targets overlap, as declared by the masker: {shares}."][: len(variants)]


def _exceeds(share: float | None, least: float) -> bool:
    return share is not None and share > least


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f} %"
