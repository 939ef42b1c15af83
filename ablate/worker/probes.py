"""Builds the probes of a study, and checks before training that they can give the scores it needs.

A study needs the score that it compares, and the one by which `evaluate` follows training. Each is
one view of one probe.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ablate.core.records.plan import EvaluatePlan, ScoreView
from ablate.core.suggest import did_you_mean
from ablate.model.encoder import AbstractEncoder
from ablate.parts import PartError, Problem, build, get_identity, replace_settings
from ablate.probing.probe import AbstractProbe
from ablate.probing.task_checks import TaskSettingError, check_settings_for_task
from ablate.probing.tasks import Task
from ablate.probing.views import SUMMARY
from ablate.probing.xares_protocol import OfficialTaskError, find_public_task
from ablate.worker.datasets import AudioDatasets

Probes = Mapping[str, AbstractProbe]  # by name


def build_probes(probes: Mapping[str, Any]) -> dict[str, AbstractProbe]:
    """Builds the probes of a study by name. Raises `PartError` with the problems of all probes."""
    built, problems = {}, []
    for name, settings in probes.items():
        try:
            built[name] = build(settings, expect=AbstractProbe, path=("probes", name))
        except PartError as error:
            problems.extend(error.problems)
    if problems:
        raise PartError(problems)
    return built


def get_protocol(name: str, probe: AbstractProbe, datasets: AudioDatasets) -> dict[str, Any]:
    """Returns the settings by which score files name a probe.

    Raises `PartError` if the data set of the probe, or a file that it names, cannot be used.
    """
    try:
        probe = probe.pin_files()
    except ValueError as error:
        raise PartError([Problem(("probes", name), str(error))]) from error
    if probe.tasks is not None:
        try:
            content = datasets.open_probed(probe.tasks)
        except ValueError as error:
            raise PartError([Problem(("probes", name, "tasks"), str(error))]) from error
        probe = replace_settings(probe, content=content)
    return get_identity(probe)


@dataclass(frozen=True)
class ExpectedScore:
    """A score that a study needs: one view of one probe."""

    path: tuple[str, ...]  # keys of the setting that names the score
    probe: str  # name of the probe
    view: str  # name of the view

    def check_view(self, probe: AbstractProbe, encoders: Iterable[AbstractEncoder]) -> None:
        """Raises `PartError` if the probe does not read this view of one of the encoders.

        An encoder without a setting `layers` is assumed to have enough of them.
        """
        match = re.match(r"layer(\d+)\.", self.view)
        layer = int(match[1]) if match else 1
        for depth in {getattr(encoder, "layers", layer) for encoder in encoders} or {layer}:
            names = [view.name for view in probe.views.expand(depth)]
            if self.view not in names:
                names_layer = match and "each" in probe.views.layers
                where = f" of an encoder of {depth} layers" if names_layer else ""
                raise self._create_error(
                    f"probe `{self.probe}` does not read `{self.view}`{where}"
                    f"{did_you_mean(self.view, names)}; choose another view, or add this one "
                    f"to `probes.{self.probe}.views`"
                )

    def check_validation(self, probe: AbstractProbe, sections: Iterable[str]) -> None:
        """Raises `PartError` if sections of the study choose by a validation score it lacks."""
        if not probe.scores_validation and (names := ", ".join(f"`{name}`" for name in sections)):
            raise self._create_error(
                f"`{self.probe}` scores test clips only, so {names} cannot choose by its validation"
                f" score; use another probe's score, or leave {names} out"
            )

    def check_tasks(self, probe: AbstractProbe, tasks: Iterable[Task]) -> None:
        """Raises `PartError` if the probe cannot give this score on one of the tasks."""
        for task in tasks:
            if task.kind not in probe.kinds:
                what = "predicts numbers" if task.kind == "numbers" else "has classes"
                raise self._create_error(
                    f"{type(probe).__name__} cannot score task `{task.name}`, which {what}; choose "
                    "the score of another probe, or leave that task out"
                )
            if not probe.can_score(task.kind, self.view.rpartition(".")[2]):
                raise self._create_error(
                    f"`{self.probe}.{self.view}` has one vector per clip, but task "
                    f"`{task.name}` needs the times of events; choose another score, or leave "
                    "that task out"
                )

    def _create_error(self, message: str) -> PartError:
        return PartError([Problem(self.path, message)])


def check_task_settings(name: str, probe: AbstractProbe, tasks: Iterable[Task]) -> None:
    """Raises `PartError` for settings of a probe with which it cannot score one of the tasks.

    One that follows the protocol of X-ARES can only score tasks of X-ARES.
    """
    problems = []
    for task in tasks:
        try:
            if probe.is_official:
                find_public_task(task.name)
            check_settings_for_task(probe, task)
        except OfficialTaskError as error:
            problems.append(Problem(("probes", name, "protocol"), str(error)))
        except TaskSettingError as error:
            problems.append(Problem(("probes", name, *error.path), str(error)))
    if problems:
        raise PartError(problems)


def list_expected_scores(
    scores: Iterable[ScoreView], evaluate: EvaluatePlan | None
) -> list[ExpectedScore]:
    """Lists the scores that a study needs: its own, and the one during training."""
    expected = [ExpectedScore(("score",), score.probe, score.pooling) for score in scores]
    if evaluate is not None:
        path = ("evaluate", "score")
        expected.append(ExpectedScore(path, evaluate.probe, evaluate.pooling))
    return expected


def find_missing_summary(encoder: AbstractEncoder, probes: Probes) -> list[Problem]:
    """Returns a problem if probes read the summary of an encoder that has none."""
    if getattr(encoder, "summary", False):
        return []
    names = [f"`{name}`" for name, probe in probes.items() if SUMMARY in probe.views.poolings]
    if not names:
        return []
    message = (
        f"{type(encoder).__name__} has no summary, but the `views` of probe {', '.join(names)} "
        f"need it; set `summary: true` if it can have one, or remove `{SUMMARY}` from the views"
    )
    return [Problem(("encoder",), message)]
