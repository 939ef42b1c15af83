"""A study's probes: built, and refused before training where they cannot see what is asked of them.

A study waits for scores, each of one view of one probe: its own, and the one by which `evaluate`
looks at trainings on their way.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ablate.core.records.plan import EvaluatePlan, ScoreView
from ablate.core.suggest import did_you_mean
from ablate.model.encoder import AbstractEncoder
from ablate.parts import PartError, Problem, build, get_identity, replace_settings
from ablate.probing.probe import AbstractProbe
from ablate.probing.tasks import Task
from ablate.probing.views import SUMMARY
from ablate.worker.datasets import Sounds

Probes = Mapping[str, AbstractProbe]  # by name


def build_probes(probes: Mapping[str, Any]) -> dict[str, AbstractProbe]:
    """Builds the probes of a study. Raises `PartError` with the problems of all."""
    built, problems = {}, []
    for name, settings in probes.items():
        try:
            built[name] = build(settings, expect=AbstractProbe, path=("probes", name))
        except PartError as error:
            problems.extend(error.problems)
    if problems:
        raise PartError(problems)
    return built


def protocol(name: str, probe: AbstractProbe, sounds: Sounds) -> dict[str, Any]:
    """Writes a probe's protocol as score files do: what it has learnt since stays out.

    Raises `PartError` where the clips that it is to examine on cannot be.
    """
    if probe.tasks is not None:
        try:
            content = sounds.content(probe.tasks)
        except ValueError as error:
            raise PartError([Problem(("probes", name, "tasks"), str(error))]) from error
        probe = replace_settings(probe, content=content)
    return get_identity(probe)


@dataclass(frozen=True)
class ExpectedScore:
    """A score that a study waits for: one view of one probe."""

    path: tuple[str, ...]  # of the study's setting that names it
    probe: str
    view: str  # its word

    def check_view(self, probe: AbstractProbe, encoders: Iterable[AbstractEncoder]) -> None:
        """Raises `PartError` where the probe has no such view of some encoder.

        An encoder that does not say how many `layers` it has is taken to have enough.
        """
        found = re.match(r"layer(\d+)\.", self.view)
        layer = int(found[1]) if found else 1
        for depth in {getattr(encoder, "layers", layer) for encoder in encoders} or {layer}:
            given = [view.name for view in probe.views.expand(depth)]
            if self.view not in given:
                deep = found and "each" in probe.views.layers
                of = f" of an encoder of {depth} layers" if deep else ""
                raise self._refused(
                    f"probe `{self.probe}` does not read `{self.view}`{of}"
                    f"{did_you_mean(self.view, given)}; choose another view, or add this one "
                    f"by `probes.{self.probe}.views`"
                )

    def check_tasks(self, probe: AbstractProbe, tasks: Iterable[Task]) -> None:
        """Raises `PartError` where the probe gives no such score of some task."""
        for task in tasks:
            if not probe.can_score(task.kind, self.view.rpartition(".")[2]):
                raise self._refused(
                    f"`{self.probe}.{self.view}` cannot tell when something is heard, as task "
                    f"`{task.name}` requires; choose another score, or leave that task out"
                )

    def _refused(self, message: str) -> PartError:
        return PartError([Problem(self.path, message)])


def expected_scores(
    scores: Iterable[ScoreView], evaluate: EvaluatePlan | None
) -> Iterator[ExpectedScore]:
    """Yields the scores that a study needs: its own, and those during training."""
    for score in scores:
        yield ExpectedScore(("score",), score.probe, score.pooling)
    if evaluate is not None:
        yield ExpectedScore(("evaluate", "score"), evaluate.probe, evaluate.pooling)


def without_summary(encoder: AbstractEncoder, probes: Probes) -> list[Problem]:
    """Words what is wrong with an encoder without a summary where probes ask for one."""
    if getattr(encoder, "summary", False):
        return []
    asking = [f"`{name}`" for name, probe in probes.items() if SUMMARY in probe.views.poolings]
    if not asking:
        return []
    message = (
        f"{type(encoder).__name__} has no summary, and the `views` of probe {', '.join(asking)} "
        f"ask for it; give it `summary: true` if it can have one, or leave `{SUMMARY}` out of them"
    )
    return [Problem(("encoder",), message)]
