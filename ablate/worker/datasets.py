"""Opens the data sets of a plan, each once, and summarises them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ablate.audio.front_end import AbstractFrontEnd
from ablate.audio.source import AbstractSource
from ablate.audio.store import check_source
from ablate.core.records.messages import ProgressMessage
from ablate.core.records.plan import DataSummary, MissingTask, TaskSummary
from ablate.probing.probe import Content
from ablate.probing.tasks import Task
from ablate.probing.xares import find_missing_tasks
from ablate.probing.xares_tasks import TASKS_BY_NAME
from ablate.worker.audio_data import AudioData, open_audio
from ablate.worker.audio_fit import list_task_notes
from ablate.worker.trial import Trial

Emit = Callable[[ProgressMessage], None]


class AudioDatasets:
    """The data sets that the trials of a plan train on, and those that are only probed.

    Args:
        cache: folder of decoded clips.
        emit: receives progress messages while clips are decoded.
        probed: whether some probe uses the clips that trials train on, which then need labels.
    """

    def __init__(self, cache: Path, emit: Emit, *, probed: bool) -> None:
        self._cache, self._emit, self._probed = cache, emit, probed
        self._trained: dict[str, tuple[AbstractSource, AudioData]] = {}  # digest -> data set
        self._front_ends: dict[AbstractFrontEnd, None] = {}
        self._only_probed: dict[AbstractSource, AudioData] = {}
        self._checked: set[AbstractSource] = set()

    def open(self, trial: Trial) -> AudioData:
        """Opens the clips of a trial. Raises `ValueError` if they cannot be used."""
        return self._open(trial.data, trial.mel, probed=self._probed)

    def check_source(self, trial: Trial) -> None:
        """Checks the source of a trial without decoding it. Raises `ValueError` like `open`."""
        if trial.data not in self._checked:
            check_source(trial.data, probed=self._probed)
            self._checked.add(trial.data)

    def add(self, trial: Trial, audio: AudioData) -> None:
        """Adds the data set and the front ends of a valid trial to the plan."""
        self._trained.setdefault(audio.store.digest, (trial.data, audio))
        self._front_ends |= dict.fromkeys((trial.mel, trial.statistics.mel))

    def open_probed(self, source: AbstractSource) -> Content | None:
        """Opens a source that is only probed, with the front end of every trial.

        Returns its content, or None if the plan has no valid trial. Raises `ValueError` if it
        cannot be used.
        """
        for front_end in self._front_ends:
            audio = self._open(source, front_end, probed=True)
            self._only_probed.setdefault(source, audio)
        if source not in self._only_probed:
            return None
        audio = self._only_probed[source]
        return Content(digest=audio.store.digest, tasks=tuple(task.name for task in audio.tasks))

    def list_tasks(self, source: AbstractSource | None) -> list[Task]:
        """Lists the tasks of a source that is only probed; None for those that trials train on."""
        if source is None:
            return [task for _, audio in self._trained.values() for task in audio.tasks]
        return self._only_probed[source].tasks if source in self._only_probed else []

    def summarise(self) -> list[DataSummary]:
        """Summarises the clips that trials train on, then those that are only probed."""
        trained = [_summarise(*pair, probed=self._probed) for pair in self._trained.values()]
        return trained + [_summarise_probed_only(*pair) for pair in self._only_probed.items()]

    def _open(
        self, source: AbstractSource, front_end: AbstractFrontEnd, *, probed: bool
    ) -> AudioData:
        def progress(done: int, total: int) -> None:
            self._emit(ProgressMessage(label="clips", done=done, total=total))

        return open_audio(source, front_end, self._cache, progress, probed=probed)


def _summarise(source: AbstractSource, audio: AudioData, *, probed: bool) -> DataSummary:
    tasks = {}
    for task in audio.tasks if probed else ():
        sizes = {part: len(clips) for part, clips in task.parts.items()}
        tasks[task.name] = TaskSummary(
            classes=0 if task.kind == "numbers" else len(task.classes),
            train=None if task.folded else sizes.get("train"),
            valid=None if task.folded else sizes.get("valid"),
            test=None if task.folded else sizes.get("test"),
            folds=len(sizes) if task.folded else None,
        )
    return DataSummary(
        digest=audio.store.digest,
        synthetic=source.is_synthetic,
        clips=len(audio.store.clips),
        pretraining_clips=len(audio.train),
        skipped=tuple(audio.store.skipped),
        silent=tuple(audio.store.silent),
        cancelled=tuple(audio.store.cancelled),
        notes=(*audio.store.notes, *(list_task_notes(audio) if probed else ())),
        tasks=tasks,
    )


def _summarise_probed_only(source: AbstractSource, audio: AudioData) -> DataSummary:
    """Summarises clips that are only probed, with the X-ARES domain and weight of their tasks."""
    summary = _summarise(source, audio, probed=True)
    tasks = {
        name: replace(task, domain=listed.domain, weight=listed.weight, knn=listed.knn)
        if (listed := TASKS_BY_NAME.get(name))
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
