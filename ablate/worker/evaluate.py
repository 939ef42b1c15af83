"""Scores the frozen encoder of a run by probes.

Score files are keyed by the settings of the probe, so another probe scores the same encoder without
training it again. Pooled features are cached by the content of encoder and audio, so another probe
encodes nothing again.
"""

import dataclasses
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ablate.audio.source import AbstractSource
from ablate.core.io import DamagedFileError
from ablate.core.records.messages import ProgressMessage
from ablate.core.records.score import PoolingScore, ScoreFile, TaskList
from ablate.parts import get_identity, replace_settings
from ablate.probing.probe import AbstractProbe
from ablate.probing.tasks import has_shared_recordings
from ablate.runs.predictions import get_predictions_file, write_predictions
from ablate.runs.store import SCORES, TASKS_FILE
from ablate.worker.audio_data import AudioData, open_audio
from ablate.worker.context import RunContext
from ablate.worker.probe_runner import ProbeRunner, hash_settings
from ablate.worker.trial import Evaluable


def score_run(
    folder: Path,
    evaluable: Evaluable,
    probes: Mapping[str, AbstractProbe],
    audio: AudioData,
    context: RunContext,
) -> list[str]:
    """Scores a run on every task by the probes without a score; returns their names.

    The list of tasks is written first, so that an interrupted scoring is recognised as incomplete.
    Raises `ValueError` if the data set of a probe has changed since it was planned.
    """
    scored: set[str] = set()
    for source in dict.fromkeys(probe.tasks for probe in probes.values()):
        same_data = {name: probe for name, probe in probes.items() if probe.tasks == source}
        if source is None:
            data = audio
            _write_tasks(folder / TASKS_FILE, audio)
        else:
            data = open_probe_data(source, evaluable, audio, same_data, context.cache)
        scored |= _score_on(data, folder, evaluable, same_data, context)
    return sorted(scored)


def _write_tasks(file: Path, audio: AudioData) -> None:
    tasks = TaskList(tasks=[task.name for task in audio.tasks])
    with suppress(DamagedFileError):  # written again
        if TaskList.find(file) == tasks:
            return
    tasks.write(file)


def open_probe_data(
    source: AbstractSource,
    evaluable: Evaluable,
    audio: AudioData,
    probes: Mapping[str, AbstractProbe],
    cache: Path,
) -> AudioData:
    """Opens a data set that is only probed, normalised like the pre-training clips.

    Raises `ValueError` if it has changed since it was planned.
    """
    data = open_audio(source, evaluable.mel, cache, check_files=False)
    for name, probe in probes.items():
        if probe.content is not None and probe.content.digest != data.store.digest:
            raise ValueError(
                f"the clips on which probe `{name}` scores have changed since it was planned; "
                "plan the study again"
            )
    return dataclasses.replace(data, pretrained_on=audio)


def _score_on(
    audio: AudioData,
    folder: Path,
    evaluable: Evaluable,
    probes: Mapping[str, AbstractProbe],
    context: RunContext,
) -> set[str]:
    """Scores a run by probes that use the same clips."""
    files = {
        (name, task.name): folder / SCORES / task.name / f"{compute_score_key(probe)}.json"
        for name, probe in probes.items()
        for task in audio.tasks
    }
    missing = [key for key, file in files.items() if not _has_score(file)]
    shares_recordings = has_shared_recordings(audio.store.clips)
    runner, done = ProbeRunner(folder, evaluable, audio, context.device), 0
    for task in audio.tasks:
        pending = {name: probes[name] for name in probes if (name, task.name) in missing}
        if not pending:
            continue
        for is_official in sorted({probe.is_official for probe in pending.values()}):
            group = {name: p for name, p in pending.items() if p.is_official == is_official}
            context.emit(ProgressMessage(label="probe", done=done, total=len(missing)))
            for name, scores, predictions in runner.score_group(task, group, context.cache):
                probe = probes[name]
                predictions_file = get_predictions_file(files[name, task.name])
                write_predictions(predictions_file, predictions, keep_names=shares_recordings)
                ScoreFile(
                    task=task.name,
                    key=compute_score_key(probe),
                    settings=get_identity(probe),
                    scores={pooling: PoolingScore(**score) for pooling, score in scores.items()},
                    precision=runner.precision,
                ).write(files[name, task.name])
                done += 1
                context.emit(ProgressMessage(label="probe", done=done, total=len(missing)))
    return {name for name, _ in missing}


def _has_score(file: Path) -> bool:
    """Returns whether a score file exists and is intact; a damaged one is written again."""
    try:
        return ScoreFile.find(file) is not None
    except DamagedFileError:
        return False


def compute_score_key(probe: AbstractProbe) -> str:
    """Hashes the settings of a probe to 10 hex digits, without the location of its data set."""
    without_location = probe if probe.content is None else replace_settings(probe, tasks=None)
    return hash_settings(get_identity(without_location))[:10]
