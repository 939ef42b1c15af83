"""Matching: the value of one setting at which a masker shows, or asks for, a wanted share.

Two maskers that show unlike amounts of audio are compared on two things at once. A masker's
settings may therefore hold `match: {context: 0.42, by: ratio}` beside their `type`: the value is
found on the trial's own grid and in its own batches, rounded, and written into the settings in the
place of `match`.
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
from ablate.mask_analysis.statistics import BATCH, realised_shares
from ablate.model.batching import Batching
from ablate.model.masking import AbstractMasker, Grid
from ablate.parts import PartError, Problem, build, resolve

DECIMALS = 3  # of the found value
TOLERANCE = 0.01  # of the grid: two levels within it are within the 2 points of the warning
SHARES = ("context", "targets")

Value = float | list[float]


@dataclasses.dataclass(frozen=True)
class Match:
    """One value that was found."""

    setting: str  # dotted path within the masker
    value: Value
    share: str  # context or targets
    wanted: float  # of the grid, 0 to 1
    reached: float


def is_asked(settings: Any) -> bool:
    """Tells whether settings hold a `match` somewhere."""
    if isinstance(settings, Mapping):
        return "match" in settings or any(map(is_asked, settings.values()))
    return isinstance(settings, list) and any(map(is_asked, settings))


def without(settings: Any) -> Any:
    """Returns settings without any `match` in them."""
    if isinstance(settings, Mapping):
        return {key: without(value) for key, value in settings.items() if key != "match"}
    return [without(value) for value in settings] if isinstance(settings, list) else settings


def matched(
    settings: Any, grid: Grid, batching: Batching = "pack", batch: int = BATCH
) -> tuple[dict[str, Any], list[Match]]:
    """Finds every `match` in the settings of a trial's masker, inner maskers first.

    Shares are those that the encoder sees, after `batching` in batches of `batch` clips.

    Returns the settings with the found values, and the matches. Raises `PartError` where one
    cannot be found.
    """
    text, found = _matched(json.dumps(settings), _Place(grid, batching, batch))
    return json.loads(text), list(found)


class _Place(NamedTuple):
    """Where masks are drawn."""

    grid: Grid
    batching: Batching
    batch: int  # clips


@cache
def _matched(text: str, place: _Place) -> tuple[str, tuple[Match, ...]]:
    """Does the work, once for all seeds of a variant."""
    found: list[Match] = []
    settings = _within(json.loads(text), ("masker",), place, found)
    return json.dumps(settings), tuple(found)


def _within(settings: Any, path: tuple[str, ...], place: _Place, found: list[Match]) -> Any:
    if isinstance(settings, list):
        return [_within(v, (*path, str(i)), place, found) for i, v in enumerate(settings)]
    if not isinstance(settings, Mapping):
        return settings
    inner = {k: _within(v, (*path, k), place, found) for k, v in settings.items() if k != "match"}
    if "match" not in settings:
        return inner
    masker = build(inner, expect=AbstractMasker, path=path)
    try:
        share, wanted, by = _read(settings["match"])
        search = _Search(inner, by, _number(masker, by), place, share, wanted)
        step = search.run()
    except ValueError as error:
        raise PartError([Problem((*path, "match"), str(error))]) from error
    value = search.spelled(step)
    found.append(Match(".".join((*path, by)), value, share, wanted, search.share(step)))
    return set_nested(inner, by.split("."), value)


def _read(text: Any) -> tuple[str, float, str]:
    """Reads `{context: 0.42, by: ratio}` as the share, how much is wanted, and the setting."""
    shape = "write `match: {context: 0.42, by: SETTING}`, or `targets` for `context`"
    if not isinstance(text, Mapping):
        raise ValueError(f"{shape}; got {text!r}")
    for key in text:
        if key not in (*SHARES, "by"):
            raise ValueError(f"unknown key `{key}` of `match`{did_you_mean(key, (*SHARES, 'by'))}")
    asked = [share for share in SHARES if share in text]
    if len(asked) != 1 or not isinstance(text.get("by"), str):
        raise ValueError(f"{shape}; got {dict(text)}")
    wanted = text[asked[0]]
    if not _is_number(wanted) or not 0 < wanted < 1:
        raise ValueError(f"`{asked[0]}` must be a share between 0 and 1; got {wanted!r}")
    return asked[0], float(wanted), text["by"]


def _number(masker: AbstractMasker, by: str) -> Value:
    """Returns the number, or the pair of numbers, that a masker has for a setting."""
    value: Any = resolve(masker)
    for key in by.split("."):
        known = value if isinstance(value, Mapping) else {}
        if key not in known:
            settings = [name for name in known if name != "type"]
            raise ValueError(f"`by`: there is no setting `{by}`{did_you_mean(key, settings)}")
        value = known[key]
    if _is_number(value):
        return float(value) if isinstance(value, float) else int(value)
    if isinstance(value, list) and len(value) == 2 and all(map(_is_number, value)):
        return value
    raise ValueError(f"`by`: `{by}` must be a number or a pair of numbers; got {value!r}")


class _Search:
    """Looks for a value in whole steps of the last decimal that is kept.

    A pair moves as a whole and keeps its width; its lower end is what is looked for.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        by: str,
        written: Value,
        place: _Place,
        share: str,
        wanted: float,
    ) -> None:
        self._settings, self._by, self._place = settings, by, place
        self._which, self._wanted = SHARES.index(share), wanted
        ends = written if isinstance(written, list) else [written]
        self._width = ends[1] - ends[0] if len(ends) == 2 else None
        self._unit = 1 if all(isinstance(end, int) for end in ends) else 10**DECIMALS
        self._written = round(ends[0] * self._unit)
        self._known: dict[int, float | None] = {}  # the share at each step; None: refused

    def run(self) -> int:
        """Returns the step to take, of several the one nearest to the value that is written."""
        steps = [step for step in self._first_steps() if self._try(step) is not None]
        if not steps:
            raise ValueError(
                f"no value of `{self._by}` works on a grid of {self._place.grid} patches"
            )
        pairs = [
            (low, high)
            for low, high in itertools.pairwise(steps)
            if (self.share(low) - self._wanted) * (self.share(high) - self._wanted) <= 0
        ]
        if pairs:
            pair = min(pairs, key=lambda pair: min(map(self._change, pair)))
            steps = [*self._bisected(*pair), *(step for step in steps if step == self._written)]
        best = min(steps, key=lambda step: (self._miss(step), self._change(step)))
        if self._miss(best) > TOLERANCE:
            raise ValueError(self._refusal(best))
        return best

    def share(self, step: int) -> float:
        """Returns the realised share at a step that the masker takes."""
        share = self._try(step)
        assert share is not None, "a refused value is never compared"
        return share

    def spelled(self, step: int) -> Value:
        """Returns the value at a step as the settings write it."""
        low = step if self._unit == 1 else step / self._unit
        return low if self._width is None else [low, round(low + self._width, DECIMALS)]

    def _first_steps(self) -> list[int]:
        """Lists values to begin with: over [0, 1], around the written one, and at the limits."""
        shares = range(0, self._unit + 1, max(1, self._unit // 20))
        around = [round(self._written * 2 ** (power / 2)) for power in range(-8, 9)]
        steps = sorted({*shares, *around})
        taken = [self._build(step) is not None for step in steps]
        edges = []
        for place, step in enumerate(steps[1:]):
            if taken[place] and not taken[place + 1]:
                edges.append(_limit(steps[place], step, self._takes))
            if taken[place + 1] and not taken[place]:
                edges.append(_limit(step, steps[place], self._takes))
        return sorted({*edges, *(step for step, good in zip(steps, taken, strict=True) if good)})

    def _bisected(self, low: int, high: int) -> list[int]:
        """Returns two neighbours between which the wanted share lies."""
        rising = self.share(low) <= self.share(high)
        while high - low > 1:
            middle = (low + high) // 2
            share = self._try(middle)
            if share is None:
                break
            low, high = (middle, high) if (share <= self._wanted) == rising else (low, middle)
        return [low, high]

    def _miss(self, step: int) -> float:
        return abs(self.share(step) - self._wanted)

    def _change(self, step: int) -> int:
        return abs(step - self._written)

    def _try(self, step: int) -> float | None:
        if step not in self._known:
            masker, share = self._build(step), None
            if masker is not None:
                with contextlib.suppress(ValueError, AssertionError):
                    share = realised_shares(masker, *self._place)[self._which]
            self._known[step] = share
        return self._known[step]

    def _takes(self, step: int) -> bool:
        return self._build(step) is not None

    def _build(self, step: int) -> AbstractMasker | None:
        settings = set_nested(self._settings, self._by.split("."), self.spelled(step))
        try:
            return build(settings, expect=AbstractMasker)
        except PartError:
            return None

    def _refusal(self, best: int) -> str:
        found = [share for share in self._known.values() if share is not None]
        return (
            f"{SHARES[self._which]} {_percent(self._wanted)} cannot be reached by `{self._by}` on "
            f"a grid of {self._place.grid} patches: the values it takes give "
            f"{_percent(min(found))} to {_percent(max(found))}, and the nearest is "
            f"{_percent(self.share(best))}, with {self.spelled(best)}; match a share "
            "that it can give, or by another setting"
        )


def _limit(inside: int, outside: int, takes: Callable[[int], bool]) -> int:
    """Returns the last step on the way from one that is taken to one that is not."""
    while abs(outside - inside) > 1:
        middle = (inside + outside) // 2
        inside, outside = (middle, outside) if takes(middle) else (inside, middle)
    return inside


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
