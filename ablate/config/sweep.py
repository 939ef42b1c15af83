"""The `sweep` section of a study: what is tuned, by which sampler, for how long, and for whom."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ablate.config.search_space import Space, read
from ablate.config.tree import Node
from ablate.core.suggest import did_you_mean

SAMPLERS = ("tpe", "random", "qmc", "gp", "cmaes", "nsga2")
SINGLE = ("gp", "cmaes")  # samplers of one objective
SCORE = "score"
COSTS = ("cost.steps", "cost.clips", "cost.flops", "cost.seconds", "cost.context_tokens")
FIRST_SEED = 1000  # of the seeds to tune on, where only their number is written
PRUNERS = ("none", "median", "asha", "hyperband", "wilcoxon")
RUNGS = (0.25, 0.5)  # shares of the steps at which points are judged, where none are written
HALVING = ("asha", "hyperband")  # pruners that judge each time the share of the steps has doubled
LEAST_SEEDS = 4  # with fewer the Wilcoxon test cannot tell anything apart


class SweepError(RuntimeError):
    """What ends a sweep without a result. What has been run lies in the run folders."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """How the settings of each variant are tuned before its seeds are trained."""

    space: Space  # the settings that may be tuned
    only: dict[str, Space] = field(default_factory=dict)  # label -> what is tuned with it alone
    per: tuple[str, ...] = ()  # factors; each combination of their levels is tuned alike
    sampler: str = "tpe"  # of `SAMPLERS`
    pruner: str = "none"  # of `PRUNERS`
    rungs: tuple[float, ...] = ()  # shares of the steps at which points are judged, too
    trials: int = 20  # points per combination
    seeds: tuple[int, ...] = (FIRST_SEED,)  # to tune on; none of them enters the verdict
    objectives: tuple[str, ...] = (SCORE,)  # then any of `COSTS`, to be as low as possible
    workers: int = 4  # jobs of a cluster that take points; on this machine `--workers` says
    minutes: float | None = None  # after which no further point is asked for
    storage: str | None = None  # a URL; None is a journal file beside the report


def check_sweep(
    node: Node,
    factors: Mapping[str, Mapping[str, Node]],
    seeds: Collection[int],
    problems: list[str],
) -> Sweep:
    """Reads the section; what is wrong is added to `problems`.

    `factors` are the study's, with their levels; `seeds` are those of its verdict.
    """
    return _Reader(node, factors, seeds, problems).sweep()


class _Reader:
    """Reads the keys of the section one by one, and collects what is wrong."""

    def __init__(
        self,
        node: Node,
        factors: Mapping[str, Mapping[str, Node]],
        seeds: Collection[int],
        problems: list[str],
    ) -> None:
        self._node, self._factors, self._seeds, self._problems = node, factors, seeds, problems

    def sweep(self) -> Sweep:
        readers: dict[str, Callable[[Node], Any]] = {
            "space": lambda node: read(node, "sweep.space", self._problems),
            "only": self._only,
            "per": self._per,
            "sampler": self._sampler,
            "pruner": self._pruner,
            "rungs": self._rungs,
            "trials": lambda node: self._count("trials", node),
            "workers": lambda node: self._count("workers", node),
            "seeds": self._seeds_of,
            "objectives": self._objectives,
            "minutes": self._minutes,
            "storage": self._storage,
        }
        found: dict[str, Any] = {"space": {}}
        for key, child in self._node.children.items():
            if key in readers:
                found[key] = readers[key](child)
            else:
                self._refuse(child, f"unknown key `{key}` of `sweep`{did_you_mean(key, readers)}")
        if found.get("pruner", "none") not in ("none", "wilcoxon"):
            found.setdefault("rungs", RUNGS)
        if "space" not in self._node.children:
            self._refuse(self._node, "`sweep.space` is missing: the settings to tune")
        sweep = Sweep(**found)
        self._refuse_contradictions(sweep)
        return sweep

    def _refuse(self, node: Node, problem: str) -> None:
        self._problems.append(f"{node.place}: {problem}")

    def _only(self, node: Node) -> dict[str, Space]:
        labels = {label for levels in self._factors.values() for label in levels}
        found = {}
        for label, child in node.children.items():
            having = [name for name, levels in self._factors.items() if label in levels]
            if not having:
                known = did_you_mean(label, labels)
                self._refuse(child, f"`sweep.only.{label}` is not a level of any factor{known}")
            elif len(having) > 1:
                names = " and of ".join(f"`{name}`" for name in having)
                problem = f"`sweep.only.{label}` is a level of {names}"
                self._refuse(child, f"{problem}; give one of them another label")
            found[label] = read(child, f"sweep.only.{label}", self._problems)
        return found

    def _per(self, node: Node) -> tuple[str, ...]:
        names = node.plain() if isinstance(node.value, list) else [node.value]
        for name in names:
            if name not in self._factors:
                known = did_you_mean(str(name), self._factors)
                self._refuse(node, f"`sweep.per` names no factor of the study: `{name}`{known}")
        return tuple(map(str, names))

    def _sampler(self, node: Node) -> str:
        if node.value not in SAMPLERS:
            known = did_you_mean(str(node.value), SAMPLERS)
            self._refuse(node, f"there is no sampler `{node.value}`{known}")
        return str(node.value)

    def _pruner(self, node: Node) -> str:
        if node.value not in (None, *PRUNERS):
            known = did_you_mean(str(node.value), PRUNERS)
            self._refuse(node, f"there is no pruner `{node.value}`{known}")
        return str(node.value or "none")

    def _rungs(self, node: Node) -> tuple[float, ...]:
        value = node.plain()
        shares = value if isinstance(value, list) else [value]
        real = all(type(share) in (int, float) and 0 < share < 1 for share in shares)
        if not real or not shares or sorted(set(shares)) != shares:
            rule = "must list shares of the steps, rising, above 0 and below 1"
            self._refuse(node, f"`sweep.rungs` {rule}; got {value!r}")
            return RUNGS
        return tuple(map(float, shares))

    def _count(self, key: str, node: Node) -> int:
        count = node.value
        if type(count) is int and count >= 1:
            return count
        self._refuse(node, f"`sweep.{key}` must be a count from 1 up; got {node.plain()!r}")
        return 1

    def _seeds_of(self, node: Node) -> tuple[int, ...]:
        value = node.plain()
        if type(value) is int and value >= 1:
            value = list(range(FIRST_SEED, FIRST_SEED + value))
        whole = isinstance(value, list) and all(type(seed) is int and seed >= 0 for seed in value)
        if not whole or not value or len(set(value)) < len(value):
            rule = "must be a count from 1 up, or a list of different integers from 0 up"
            self._refuse(node, f"`sweep.seeds` {rule}; got {node.plain()!r}")
            return ()
        return tuple(value)

    def _objectives(self, node: Node) -> tuple[str, ...]:
        names = node.plain() if isinstance(node.value, list) else [node.value]
        for name in names:
            if name not in (SCORE, *COSTS):
                known = did_you_mean(str(name), (SCORE, *COSTS))
                self._refuse(node, f"there is no objective `{name}`{known}")
        if not names or names[0] != SCORE or len(set(names)) < len(names):
            rule = f"`sweep.objectives` begins with `{SCORE}` and names each objective once"
            self._refuse(node, f"{rule}; got {node.plain()!r}")
        return tuple(map(str, names))

    def _minutes(self, node: Node) -> float | None:
        value: Any = node.value
        if type(value) in (int, float) and value > 0:
            return float(value)
        self._refuse(node, f"`sweep.minutes` must be more than 0; got {node.plain()!r}")
        return None

    def _storage(self, node: Node) -> str | None:
        value = node.value
        if value in (None, "journal"):
            return None
        if isinstance(value, str) and "://" in value:
            return value
        kinds = "`journal`, or a URL such as `sqlite:///sweep.db`, `postgresql+psycopg://host/name`"
        self._refuse(node, f"`sweep.storage` must be {kinds}; got {node.plain()!r}")
        return None

    def _refuse_contradictions(self, sweep: Sweep) -> None:
        shared = sorted(set(sweep.seeds) & set(self._seeds))
        if shared:
            listed = ", ".join(map(str, shared))
            problem = f"seeds {listed} are in `sweep.seeds` and in `seeds`"
            self._refuse(
                self._node, f"{problem}; the verdict needs seeds on which nothing was tuned"
            )
        for name in self._factors:
            if name not in sweep.per:
                problem = f"factor `{name}` is not in `sweep.per`; its levels would be compared"
                self._refuse(self._node, f"{problem} with settings tuned for another; add it")
        self._refuse_hidden("space", sweep.space)
        for label, space in sweep.only.items():
            self._refuse_hidden(f"only.{label}", space)
        if len(sweep.objectives) > 1 and sweep.pruner != "none":
            problem = f"pruner `{sweep.pruner}` takes one objective; leave it out"
            self._refuse(self._node, f"{problem}; got {', '.join(sweep.objectives)}")
        if sweep.pruner == "wilcoxon" and sweep.rungs:
            problem = "pruner `wilcoxon` judges after each seed, not at rungs"
            self._refuse(self._node, f"{problem}; leave `sweep.rungs` out")
        self._refuse_idle_rungs(sweep)
        if sweep.pruner == "wilcoxon" and len(sweep.seeds) < LEAST_SEEDS:
            problem = f"pruner `wilcoxon` compares seeds, and {len(sweep.seeds)} is too few"
            self._refuse(self._node, f"{problem}: `sweep.seeds: {LEAST_SEEDS}` or more")
        if len(sweep.objectives) > 1 and sweep.sampler in SINGLE:
            problem = f"sampler `{sweep.sampler}` takes one objective; use `tpe` or `nsga2`"
            self._refuse(self._node, f"{problem}; got {', '.join(sweep.objectives)}")

    def _refuse_idle_rungs(self, sweep: Sweep) -> None:
        idle = _idle(sweep.rungs) if sweep.pruner in HALVING else []
        if idle:
            rule = "judges at the first rung and wherever its share has doubled, so never at"
            listed = " and ".join(map(str, idle))
            problem = f"pruner `{sweep.pruner}` {rule} {listed}"
            way_out = f"leave that out, or begin lower, as in {list(RUNGS)}"
            self._refuse(self._node, f"{problem}; {way_out}")

    def _refuse_hidden(self, where: str, space: Space) -> None:
        for key, dimension in space.items():
            hidden = [name for name in self._factors if f"{name}.".startswith(f"{key}.")]
            if hidden:
                problem = f"`sweep.{where}.{key}` would replace the levels of factor `{hidden[0]}`"
                self._refuse(dimension.node, f"{problem}; sweep something inside or beside it")


def _idle(rungs: Sequence[float]) -> list[float]:
    """Returns the rungs that no doubling of the first one has reached, in whole percent."""
    percents = [round(100 * share) for share in rungs]
    needed, idle = max(1, percents[0]), []
    for share, percent in zip(rungs, percents, strict=True):
        if percent < needed:
            idle.append(share)
        while needed <= percent:
            needed *= 2
    return idle
