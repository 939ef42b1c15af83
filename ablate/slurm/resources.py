"""Determines the resources of each run: a profile, and settings that some levels replace in it."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field

from ablate.config.factors import PROBE
from ablate.config.study import Study, StudyError
from ablate.config.tree import Node, find_differences
from ablate.core.suggest import did_you_mean
from ablate.runs.pending import PlannedRun
from ablate.slurm import profile as slurm_profile
from ablate.slurm.profile import Profile

STUDY_WIDE = ("poll_seconds",)  # settings that cannot differ between the jobs of a study
Settings = Mapping[str, Node]
Levels = Mapping[str, Settings]  # factor -> label -> settings of a profile


@dataclass(frozen=True)
class Resources:
    """A profile, and the settings that levels replace in it."""

    profile: Profile
    settings: Settings = field(default_factory=dict)  # those from which the profile was built
    levels: Levels = field(default_factory=dict)
    place: str = ""  # file and line of the levels

    def get_profile(self, labels: Mapping[str, str]) -> Profile:
        """Returns the profile of a trial.

        If two of its levels replace the same setting, the one written later in the file counts.

        Args:
            labels: the trial's levels, factor -> label.

        Raises:
            StudyError: the settings of its levels contradict each other.
        """
        changes: dict[str, Node] = {}
        for factor, levels in self.levels.items():
            if factor in labels and labels[factor] in levels:
                changes |= levels[labels[factor]].children
        if not changes:
            return self.profile
        return slurm_profile.build_profile(self.profile.name, {**self.settings, **changes})

    def check_runs(self, runs: Iterable[PlannedRun]) -> None:
        """Raises `StudyError` if variants that share a run need different resources for it."""
        firsts: dict[str, PlannedRun] = {}
        for run in runs:
            first = firsts.setdefault(run.fingerprint, run)
            profiles = [asdict(self.get_profile(each.levels)) for each in (first, run)]
            if differences := find_differences(*profiles):
                changes = ", ".join(
                    f"`{key}` {a!r} or {b!r}" for key, (a, b) in differences.items()
                )
                raise StudyError(
                    [
                        f"{self.place}: `{first.title}` and `{run.title}` are one run, and "
                        f"`slurm.levels` asks {changes} for it; let both levels ask for the same"
                    ]
                )


def load_resources(study: Study, profile: str | None = None) -> Resources | None:
    """Loads the resources of a study.

    Args:
        study: the study.
        profile: name or path of a profile to use instead of the study's own `slurm` settings, of
            which only `levels` counts then.

    Returns:
        The resources; None if neither the study nor `profile` names a cluster.

    Raises:
        StudyError: the profile is missing or invalid, or a level is unknown.
    """
    node = study.tree.children.get("slurm", Node(None, ""))
    if profile is None and node.value is None:
        return None
    if profile is None:
        name, settings = _read_study_settings(node)
    else:
        name, settings = slurm_profile.read_settings(profile)
    built = slurm_profile.build_profile(name, settings)
    if "levels" not in node.children:
        return Resources(built, settings)
    levels = node.children["levels"]
    return Resources(built, settings, _read_levels(levels, study, name, settings), levels.place)


def _read_study_settings(node: Node) -> tuple[str, Settings]:
    """Reads the profile that a study names, with the study's changes."""
    if isinstance(node.value, str):
        return slurm_profile.read_settings(node.value)
    profile = node.children.get("profile")
    if profile is None or not isinstance(profile.value, str):
        rule = "`slurm` must name a profile: `slurm: {profile: slurm/gpu.yaml}`"
        raise StudyError([f"{node.place}: {rule}; got {node.plain()!r}"])
    name, settings = slurm_profile.read_settings(profile.value)
    changes = {k: child for k, child in node.children.items() if k not in ("profile", "levels")}
    return name, {**settings, **changes}


def _read_levels(node: Node, study: Study, profile: str, settings: Settings) -> Levels:
    """Validates the settings of each level as if they were in the profile; raises `StudyError`."""
    problems: list[str] = []
    by_factor: dict[str, Settings] = {}
    for factor, levels in _read_mapping(
        "slurm.levels", "factors to levels", node, problems
    ).items():
        name = f"slurm.levels.{factor}"
        if problem := _check_factor(factor, study):
            problems.append(f"{levels.place}: `{name}`: {problem}")
            continue
        by_factor[factor] = _read_mapping(name, "levels to settings", levels, problems)
        for label, level in by_factor[factor].items():
            changes = _read_mapping(f"{name}.{label}", "settings to values", level, problems)
            problems += _check_label(factor, label, level, study)
            problems += _check_settings(profile, settings, changes)
    if problems:
        raise StudyError(problems)
    return by_factor


def _read_mapping(name: str, content: str, node: Node, problems: list[str]) -> Settings:
    if not isinstance(node.value, dict):
        problems.append(f"{node.place}: `{name}` must map {content}; got {node.plain()!r}")
    return node.children


def _check_factor(factor: str, study: Study) -> str | None:
    if factor == PROBE:
        return "all probes score every run; write what they need beside `profile`"
    if factor not in study.factors:
        return f"the study has no factor `{factor}`{did_you_mean(factor, study.factors)}"
    return None


def _check_label(factor: str, label: str, level: Node, study: Study) -> list[str]:
    labels = study.factors[factor]
    if label in labels:
        return []
    hint = did_you_mean(label, labels)
    return [f"{level.place}: factor `{factor}` has no level `{label}`{hint}"]


def _check_settings(profile: str, settings: Settings, changes: Settings) -> list[str]:
    study_wide = [key for key in changes if key in STUDY_WIDE]
    if study_wide:
        rule = "applies to the whole study; write it beside `profile`"
        return [f"{changes[key].place}: `{key}` {rule}" for key in study_wide]
    try:
        slurm_profile.build_profile(profile, {**settings, **changes})
    except StudyError as error:
        return error.problems
    return []
