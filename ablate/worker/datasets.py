"""The sounds of a plan: opened once, to train on or to examine on alone, and described."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ablate.audio.mel import AbstractFrontEnd
from ablate.audio.sources import AbstractSource
from ablate.audio.store import check_source
from ablate.core.records.messages import ProgressMessage
from ablate.core.records.plan import DataSummary, MissingTask, TaskSummary
from ablate.probing.probe import Content
from ablate.probing.tasks import Task
from ablate.probing.xares import find_missing_tasks
from ablate.probing.xares_tasks import TASKS_BY_NAME
from ablate.worker.trial import Sound, Trial, open_sound

Emit = Callable[[ProgressMessage], None]


class Sounds:
    """Opens sounds for a plan; `probed` says whether probes examine on what is trained on, too."""

    def __init__(self, cache: Path, emit: Emit, *, probed: bool) -> None:
        self._cache, self._emit, self._probed = cache, emit, probed
        self._trained: dict[str, tuple[AbstractSource, Sound]] = {}  # by digest
        self._front_ends: dict[AbstractFrontEnd, None] = {}
        self._examined: dict[AbstractSource, Sound] = {}
        self._checked: set[AbstractSource] = set()

    def of(self, trial: Trial) -> Sound:
        """Opens what a trial trains on. Raises `ValueError` for sound that cannot be used."""
        return self._open(trial.data, trial.mel, probed=self._probed)

    def check(self, trial: Trial) -> None:
        """Refuses what can be told of a trial's sound before it is decoded. Raises as `of` does."""
        if trial.data not in self._checked:
            check_source(trial.data, probed=self._probed)
            self._checked.add(trial.data)

    def take(self, trial: Trial, sound: Sound) -> None:
        """Takes the sound of a trial that can be run into the plan."""
        self._trained.setdefault(sound.store.digest, (trial.data, sound))
        self._front_ends |= dict.fromkeys((trial.mel, trial.statistics.mel))

    def content(self, source: AbstractSource) -> Content | None:
        """Opens what is only examined on, by every trial's front end; None without a trial.

        Raises `ValueError` for sound that cannot be used.
        """
        for front_end in self._front_ends:
            sound = self._open(source, front_end, probed=True)
            self._examined.setdefault(source, sound)
        if source not in self._examined:
            return None
        sound = self._examined[source]
        return Content(digest=sound.store.digest, tasks=tuple(task.name for task in sound.tasks))

    def tasks(self, source: AbstractSource | None) -> list[Task]:
        """Lists the tasks of what is only examined on; without a source, of what is trained on."""
        if source is None:
            return [task for _, sound in self._trained.values() for task in sound.tasks]
        return self._examined[source].tasks if source in self._examined else []

    def described(self) -> list[DataSummary]:
        """Summarises the clips that trials train on, then those that are only probed."""
        trained = [_summarise(*pair, probed=self._probed) for pair in self._trained.values()]
        return trained + [_summarise_probed_only(*pair) for pair in self._examined.items()]

    def _open(self, source: AbstractSource, front_end: AbstractFrontEnd, *, probed: bool) -> Sound:
        def progress(done: int, total: int) -> None:
            self._emit(ProgressMessage(label="clips", done=done, total=total))

        return open_sound(source, front_end, self._cache, progress, probed=probed)


def _summarise(source: AbstractSource, sound: Sound, *, probed: bool) -> DataSummary:
    tasks = {}
    for task in sound.tasks if probed else ():
        sizes = {part: len(clips) for part, clips in task.parts.items()}
        tasks[task.name] = TaskSummary(
            classes=len(task.classes),
            train=None if task.folded else sizes.get("train"),
            valid=None if task.folded else sizes.get("valid"),
            test=None if task.folded else sizes.get("test"),
            folds=len(sizes) if task.folded else None,
        )
    return DataSummary(
        digest=sound.store.digest,
        synthetic=source.is_synthetic,
        clips=len(sound.store.clips),
        pretraining_clips=len(sound.train),
        skipped=tuple(sound.store.skipped),
        silent=tuple(sound.store.silent),
        tasks=tasks,
    )


def _summarise_probed_only(source: AbstractSource, sound: Sound) -> DataSummary:
    """Summarises clips that are only probed, with the X-ARES domain and weight of their tasks."""
    summary = _summarise(source, sound, probed=True)
    tasks = {
        name: replace(task, domain=known.domain, weight=known.weight)
        if (known := TASKS_BY_NAME.get(name))
        else task
        for name, task in summary.tasks.items()
    }
    missing = tuple(
        MissingTask(
            task=name,
            reason=reason,
            domain=TASKS_BY_NAME[name].domain,
            weight=TASKS_BY_NAME[name].weight,
        )
        for name, reason in find_missing_tasks(source, summary.tasks).items()
    )
    return replace(summary, pretraining_clips=0, tasks=tasks, missing=missing)
