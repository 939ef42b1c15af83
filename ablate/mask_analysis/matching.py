"""Finds the value of a masker's setting that gives a requested share of context or targets.

Comparing two maskers that leave different amounts of audio visible confounds two factors. A
masker's settings may therefore contain `match: {context: 0.42, by: ratio}` beside their `type`:
the value of `ratio` is searched on the trial's own grid, in its own batches and on clips as long as
its own, rounded, and written into the settings in place of `match`.
"""

import contextlib
import dataclasses
import itertools
import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

from ablate.core.nested import set_nested
from ablate.core.suggest import did_you_mean
from ablate.mask_analysis.realised_shares import BATCH, compute_realised_shares
from ablate.model.batching import Batching
from ablate.model.masking import AbstractMasker, Grid
from ablate.parts import PartError, Problem, build, resolve

DECIMALS = 3  # decimals of the value
# largest error, as a share of the grid: two levels that both match differ by at most 2 points,
# below which the warning about unequal visible shares is silent
TOLERANCE = 0.01
SHARES = ("context", "targets")

Value = float | list[float]


@dataclasses.dataclass(frozen=True)
class Match:
    """The value found for one `match`."""

    setting: str  # dotted path within the masker
    value: Value
    share: str  # context or targets
    wanted: float  # requested share of the grid, 0 to 1
    reached: float  # realised share of the grid, 0 to 1


def has_match(settings: Any) -> bool:
    """Returns whether settings contain a `match` at any depth."""
    if isinstance(settings, Mapping):
        return "match" in settings or any(map(has_match, settings.values()))
    return isinstance(settings, list) and any(map(has_match, settings))


def remove_match(settings: Any) -> Any:
    """Returns the settings without `match` at any depth."""
    if isinstance(settings, Mapping):
        return {key: remove_match(value) for key, value in settings.items() if key != "match"}
    return [remove_match(value) for value in settings] if isinstance(settings, list) else settings


def resolve_matches(
    settings: Any,
    grid: Grid,
    batching: Batching = "pack",
    batch: int = BATCH,
    columns: tuple[int, ...] = (),
) -> tuple[dict[str, Any], list[Match]]:
    """Replaces every `match` in a masker's settings by a value, inner maskers first.

    Args:
        settings: Settings of the trial's masker.
        grid: The trial's grid.
        batching: How the trial batches; shares are those the encoder sees after it.
        batch: Clips per batch.
        columns: Columns of the grid that are not padding, as for `compute_realised_shares`.

    Returns:
        The settings with values in place of `match`, and the values.

    Raises:
        PartError: A `match` is malformed, or no value reaches the requested share.
    """
    text, matches = _resolve_json(
        json.dumps(settings), _DrawConditions(grid, batching, batch, columns)
    )
    return json.loads(text), list(matches)


class _DrawConditions(NamedTuple):
    """The grid and batches for which masks are drawn."""

    grid: Grid
    batching: Batching
    batch: int  # clips
    columns: tuple[int, ...]  # lengths of representative clips; empty without padding


@cache
def _resolve_json(text: str, conditions: _DrawConditions) -> tuple[str, tuple[Match, ...]]:
    """Resolves settings in JSON, which is hashable: cached for all seeds of a variant."""
    matches: list[Match] = []
    settings = _resolve(json.loads(text), ("masker",), conditions, matches)
    return json.dumps(settings), tuple(matches)


def _resolve(
    settings: Any, path: tuple[str, ...], conditions: _DrawConditions, matches: list[Match]
) -> Any:
    if isinstance(settings, list):
        return [
            _resolve(value, (*path, str(index)), conditions, matches)
            for index, value in enumerate(settings)
        ]
    if not isinstance(settings, Mapping):
        return settings
    inner = {
        key: _resolve(value, (*path, key), conditions, matches)
        for key, value in settings.items()
        if key != "match"
    }
    if "match" not in settings:
        return inner
    masker = build(inner, expect=AbstractMasker, path=path)
    try:
        share, wanted, by = _parse_match(settings["match"])
        search = _Search(inner, by, _get_number(masker, by), conditions, share, wanted)
        step = search.run()
    except ValueError as error:
        raise PartError([Problem((*path, "match"), str(error))]) from error
    value = search.to_value(step)
    matches.append(Match(".".join((*path, by)), value, share, wanted, search.share(step)))
    return set_nested(inner, by.split("."), value)


def _parse_match(text: Any) -> tuple[str, float, str]:
    """Parses `{context: 0.42, by: ratio}` as the share, its requested size, and the setting."""
    shape = "write `match: {context: 0.42, by: SETTING}`, or `targets` for `context`"
    if not isinstance(text, Mapping):
        raise ValueError(f"{shape}; got {text!r}")
    for key in text:
        if key not in (*SHARES, "by"):
            raise ValueError(f"unknown key `{key}` of `match`{did_you_mean(key, (*SHARES, 'by'))}")
    shares = [share for share in SHARES if share in text]
    if len(shares) != 1 or not isinstance(text.get("by"), str):
        raise ValueError(f"{shape}; got {dict(text)}")
    wanted = text[shares[0]]
    if not _is_number(wanted) or not 0 < wanted < 1:
        raise ValueError(f"`{shares[0]}` must be a share between 0 and 1; got {wanted!r}")
    return shares[0], float(wanted), text["by"]


def _get_number(masker: AbstractMasker, by: str) -> Value:
    """Returns a masker's value of a setting: a number or a pair of numbers."""
    value: Any = resolve(masker)
    for key in by.split("."):
        fields = value if isinstance(value, Mapping) else {}
        if key not in fields:
            names = [name for name in fields if name != "type"]
            raise ValueError(f"`by`: no setting `{by}`{did_you_mean(key, names)}")
        value = fields[key]
    if _is_number(value):
        return float(value) if isinstance(value, float) else int(value)
    if isinstance(value, list) and len(value) == 2 and all(map(_is_number, value)):
        return value
    raise ValueError(f"`by`: `{by}` must be a number or a pair of numbers; got {value!r}")


class _Search:
    """Searches a value in integer steps of its last decimal.

    A pair is shifted and keeps its width; the search is over its lower end.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        by: str,
        written: Value,
        conditions: _DrawConditions,
        share: str,
        wanted: float,
    ) -> None:
        self._settings, self._by, self._conditions = settings, by, conditions
        self._share_index, self._wanted = SHARES.index(share), wanted
        ends = written if isinstance(written, list) else [written]
        self._width = ends[1] - ends[0] if len(ends) == 2 else None
        self._unit = 1 if all(isinstance(end, int) for end in ends) else 10**DECIMALS
        self._written = round(ends[0] * self._unit)
        self._shares: dict[
            int, float | None
        ] = {}  # share at each step; None: the masker refuses it

    def run(self) -> int:
        """Returns the best step; among equals the one nearest to the written value."""
        steps = [step for step in self._first_steps() if self._try(step) is not None]
        if not steps:
            raise ValueError(
                f"no value of `{self._by}` works on a grid of {self._conditions.grid} patches"
            )
        pairs = [
            (low, high)
            for low, high in itertools.pairwise(steps)
            if (self.share(low) - self._wanted) * (self.share(high) - self._wanted) <= 0
        ]
        if pairs:
            pair = min(pairs, key=lambda pair: min(map(self._change, pair)))
            steps = [*self._bisect(*pair), *(step for step in steps if step == self._written)]
        best = min(steps, key=lambda step: (self._error(step), self._change(step)))
        if self._error(best) > TOLERANCE:
            raise ValueError(self._format_failure())
        return best

    def share(self, step: int) -> float:
        """Returns the realised share at a step that the masker accepts."""
        share = self._try(step)
        assert share is not None, "only accepted steps are compared"
        return share

    def to_value(self, step: int) -> Value:
        """Returns the value of the setting at a step."""
        low = step if self._unit == 1 else step / self._unit
        return low if self._width is None else [low, round(low + self._width, DECIMALS)]

    def _first_steps(self) -> list[int]:
        """Lists the first values to try: over [0, 1], around the written one, and at the limits."""
        shares = range(0, self._unit + 1, max(1, self._unit // 20))
        around = [round(self._written * 2 ** (power / 2)) for power in range(-8, 9)]
        steps = sorted({*shares, *around})
        accepted = {step for step in steps if self._is_accepted(step)}
        edges = set()
        for lower, upper in itertools.pairwise(steps):
            if lower in accepted and upper not in accepted:
                edges.add(_find_limit(lower, upper, self._is_accepted))
            if upper in accepted and lower not in accepted:
                edges.add(_find_limit(upper, lower, self._is_accepted))
        return sorted(edges | accepted)

    def _bisect(self, low: int, high: int) -> list[int]:
        """Returns two neighbouring steps between which the requested share lies."""
        rising = self.share(low) <= self.share(high)
        while high - low > 1:
            middle = (low + high) // 2
            share = self._try(middle)
            if share is None:
                break
            low, high = (middle, high) if (share <= self._wanted) == rising else (low, middle)
        return [low, high]

    def _error(self, step: int) -> float:
        return abs(self.share(step) - self._wanted)

    def _change(self, step: int) -> int:
        return abs(step - self._written)

    def _try(self, step: int) -> float | None:
        if step not in self._shares:
            masker, share = self._build(step), None
            if masker is not None:
                with contextlib.suppress(ValueError, AssertionError):
                    share = compute_realised_shares(masker, *self._conditions)[self._share_index]
            self._shares[step] = share
        return self._shares[step]

    def _is_accepted(self, step: int) -> bool:
        return self._build(step) is not None

    def _build(self, step: int) -> AbstractMasker | None:
        settings = set_nested(self._settings, self._by.split("."), self.to_value(step))
        try:
            return build(settings, expect=AbstractMasker)
        except PartError:
            return None

    def _format_failure(self) -> str:
        values = {s: self.to_value(step) for step, s in self._shares.items() if s is not None}
        near = [
            max((share for share in values if share <= self._wanted), default=None),
            min((share for share in values if share > self._wanted), default=None),
        ]
        gives = " and ".join(
            f"{_percent(share)} ({values[share]})" for share in near if share is not None
        )
        return (
            f"{SHARES[self._share_index]} {_percent(self._wanted)} cannot be reached by "
            f"`{self._by}` on a grid of {self._conditions.grid} patches: the nearest "
            f"shares that its values give are {gives}, and all lie between {_percent(min(values))} "
            f"and {_percent(max(values))}; match one that it gives, in every level, or use finer "
            "patches or another setting"
        )


def _find_limit(inside: int, outside: int, is_accepted: Callable[[int], bool]) -> int:
    """Returns the last accepted step on the way from an accepted step to one that is not."""
    while abs(outside - inside) > 1:
        middle = (inside + outside) // 2
        inside, outside = (middle, outside) if is_accepted(middle) else (inside, middle)
    return inside


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
