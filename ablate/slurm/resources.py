"""What a study asks of a site: a profile, and the settings that some levels replace in it."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field

from ablate.config.factors import PROBE
from ablate.config.study import Study, StudyError
from ablate.config.tree import Node, find_differences
from ablate.core.suggest import did_you_mean
from ablate.runs.pending import PlannedRun
from ablate.slurm import profile
from ablate.slurm.profile import Profile

STUDY_WIDE = ("poll_seconds",)  # settings that a single job cannot have
Settings = Mapping[str, Node]
Levels = Mapping[str, Settings]  # factor -> label -> settings of a profile


@dataclass(frozen=True)
class Needs:
    """A profile, and what the levels that need something else say instead."""

    profile: Profile
    written: Settings = field(default_factory=dict)  # the profile's settings
    levels: Levels = field(default_factory=dict)
    place: str = ""  # where the levels are written

    def of(self, labels: Mapping[str, str]) -> Profile:
        """Returns the profile of a trial with these levels, `labels`, by factor.

        Where two of its levels set the same setting, the one that is written later counts. Where
        none sets any, that is the study's profile. Raises `StudyError` where they contradict.
        """
        changes: dict[str, Node] = {}
        for factor, levels in self.levels.items():
            if factor in labels and labels[factor] in levels:
                changes |= levels[labels[factor]].children
        if not changes:
            return self.profile
        return profile.check(self.profile.name, {**self.written, **changes})

    def check(self, runs: Iterable[PlannedRun]) -> None:
        """Raises `StudyError` where variants that share one run do not ask the same for it."""
        firsts: dict[str, PlannedRun] = {}
        for run in runs:
            first = firsts.setdefault(run.fingerprint, run)
            asked = [asdict(self.of(one.levels)) for one in (first, run)]
            if found := find_differences(*asked):
                told = ", ".join(f"`{name}` {a!r} or {b!r}" for name, (a, b) in found.items())
                raise StudyError(
                    [
                        f"{self.place}: `{first.title}` and `{run.title}` are one run, and "
                        f"`slurm.levels` asks {told} for it; let both levels ask for the same"
                    ]
                )


def of_study(study: Study, name: str | None = None) -> Needs | None:
    """Reads what a study says under `slurm`; None where it says nothing, and there is no `name`.

    `name` is of a profile to use instead: then only the study's `levels` count. Raises
    `StudyError` for a profile that is not there or cannot be, and for unknown levels.
    """
    node = study.tree.children.get("slurm", Node(None, ""))
    if name is None and node.value is None:
        return None
    title, written = _named(node) if name is None else profile.written(name)
    found = profile.check(title, written)
    if "levels" not in node.children:
        return Needs(found, written)
    levels = node.children["levels"]
    return Needs(found, written, _levels(levels, study, title, written), levels.place)


def _named(node: Node) -> tuple[str, Settings]:
    """Reads the profile that a study names, with what the study changes in it."""
    if isinstance(node.value, str):
        return profile.written(node.value)
    named = node.children.get("profile")
    if named is None or not isinstance(named.value, str):
        rule = "`slurm` must name a profile: `slurm: {profile: slurm/gpu.yaml}`"
        raise StudyError([f"{node.place}: {rule}; got {node.plain()!r}"])
    title, written = profile.written(named.value)
    own = {k: child for k, child in node.children.items() if k not in ("profile", "levels")}
    return title, {**written, **own}


def _levels(node: Node, study: Study, title: str, written: Settings) -> Levels:
    """Checks what each level says as if it stood in the profile. Raises `StudyError`."""
    problems: list[str] = []
    found: dict[str, Settings] = {}
    for factor, levels in _mapping("slurm.levels", "factors to levels", node, problems).items():
        name = f"slurm.levels.{factor}"
        if reason := _no_factor(factor, study):
            problems.append(f"{levels.place}: `{name}`: {reason}")
            continue
        found[factor] = _mapping(name, "levels to settings", levels, problems)
        for label, level in found[factor].items():
            changes = _mapping(f"{name}.{label}", "settings to values", level, problems)
            problems += _wrong_label(factor, label, level, study)
            problems += _wrong_settings(title, written, changes)
    if problems:
        raise StudyError(problems)
    return found


def _mapping(name: str, what: str, node: Node, problems: list[str]) -> Settings:
    if not isinstance(node.value, dict):
        problems.append(f"{node.place}: `{name}` must map {what}; got {node.plain()!r}")
    return node.children


def _no_factor(factor: str, study: Study) -> str | None:
    if factor == PROBE:
        return "all probes score every run; write what they need beside `profile`"
    if factor not in study.factors:
        return f"the study has no factor `{factor}`{did_you_mean(factor, study.factors)}"
    return None


def _wrong_label(factor: str, label: str, level: Node, study: Study) -> list[str]:
    known = study.factors[factor]
    if label in known:
        return []
    return [f"{level.place}: factor `{factor}` has no level `{label}`{did_you_mean(label, known)}"]


def _wrong_settings(title: str, written: Settings, changes: Settings) -> list[str]:
    shared = [key for key in changes if key in STUDY_WIDE]
    if shared:
        rule = "applies to the whole study; write it beside `profile`"
        return [f"{changes[key].place}: `{key}` {rule}" for key in shared]
    try:
        profile.check(title, {**written, **changes})
    except StudyError as error:
        return error.problems
    return []
