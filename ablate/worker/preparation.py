"""Decodes the clips of a study ahead of its trials: all of them, or one of several parts."""

import itertools
import json
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ablate.audio.front_end import AbstractFrontEnd
from ablate.audio.part_decoding import Part, decode_part
from ablate.audio.source import AbstractSource
from ablate.audio.store import get_store_paths
from ablate.audio.store_builder import Progress
from ablate.core.nested import remove_nested
from ablate.core.records.decoding_requests import DecodedStore, DecodeReply, DecodeRequest
from ablate.core.records.messages import ProgressMessage
from ablate.core.records.plan import Settings
from ablate.parts import PartError, Problem, build
from ablate.worker.audio_data import open_audio
from ablate.worker.datasets import Emit
from ablate.worker.probes import Probes, build_probes
from ablate.worker.trial import get_statistics_mel

T = TypeVar("T")
KeyPath = tuple[str, ...]  # keys that lead to a setting
AUDIO_KEYS = ("data", "mel")  # settings of a trial that decide what is decoded
SECONDS_PER_HOUR = 3600
BYTES_PER_VALUE = 2


@dataclass(frozen=True)
class _Corpus:
    """A source and a front end whose frames a study reads."""

    source: AbstractSource
    front_end: AbstractFrontEnd
    probed: bool  # whether some probe reads the labels
    trained: bool  # whether trials train on it, with frames normalised by its own statistics
    path: KeyPath  # keys of the setting that names the source


def decode_audio(request: DecodeRequest, cache: Path, emit: Emit) -> DecodeReply:
    """Decodes every source of a study with every front end, or a part of each.

    Args:
        request: the trials and probes of a study.
        cache: folder of decoded clips.
        emit: receives the number of clips done, over all sources.

    Raises:
        PartError: a source, front end or probe cannot be built; or sources cannot be used, once
            all the others are decoded.
    """
    corpora = list(_list_corpora(request, build_probes(request.probes)))
    part = None if request.part is None else Part(*request.part)
    sizes = [_count(corpus, part) for corpus in corpora]
    stores: list[DecodedStore] = []
    problems: list[Problem] = []
    for number, corpus in enumerate(corpora):

        def progress(done: int, total: int, number: int = number) -> None:
            before = sum(sizes[: number + 1]) - total  # those decoded earlier count as done
            emit(ProgressMessage(label="clips", done=before + done, total=sum(sizes)))

        try:
            stores.append(_decode(corpus, part, cache, progress))
        except ValueError as error:
            problems.append(Problem(corpus.path, str(error)))
    if problems:
        raise PartError(problems)
    return DecodeReply(stores=tuple(stores))


def _count(corpus: _Corpus, part: Part | None) -> int:
    try:
        num_clips = len(corpus.source.clips())
    except ValueError:  # `_decode` reports it
        return 0
    return num_clips if part is None else len(part.select(num_clips))


def _decode(corpus: _Corpus, part: Part | None, cache: Path, progress: Progress) -> DecodedStore:
    source, front_end = corpus.source, corpus.front_end
    folder, _ = get_store_paths(source, front_end, cache)
    if part is not None:
        counts = decode_part(source, front_end, cache, part, progress=progress)
        return DecodedStore(folder=folder, clips=counts.num_decoded, bad=counts.num_bad)
    audio = open_audio(source, front_end, cache, progress, probed=corpus.probed)
    if corpus.trained:
        _ = audio.normaliser  # kept beside the store; computing it reads all frames
    store = audio.store
    num_frames = int(store.lengths.sum())
    return DecodedStore(
        folder=folder,
        clips=len(store.clips),
        bad=len(store.skipped),
        hours=num_frames * front_end.hop_seconds / SECONDS_PER_HOUR,
        bytes=num_frames * store.bands * BYTES_PER_VALUE,
    )


def _list_corpora(request: DecodeRequest, probes: Probes) -> Iterator[_Corpus]:
    """Yields what the trials train on and the baselines read, then what is only probed."""
    probed = any(probe.tasks is None for probe in probes.values())
    corpora: dict[tuple[AbstractSource, AbstractFrontEnd], _Corpus] = {}
    front_ends: dict[AbstractFrontEnd, None] = {}
    for settings, optional in _list_distinct(request):
        source = _build(settings, optional, "data", AbstractSource)
        front_end = _build(settings, optional, "mel", AbstractFrontEnd)
        for used in (front_end, get_statistics_mel(front_end)):
            front_ends[used] = None
            corpus = _Corpus(
                source, used, probed=probed, trained=used == front_end, path=("baseline", "data")
            )
            corpora.setdefault((source, used), corpus)
    for name, probe in probes.items():
        path = ("probes", name, "tasks")
        for front_end in front_ends if probe.tasks is not None else ():
            assert probe.tasks is not None
            key = (probe.tasks, front_end)
            corpora.setdefault(key, _Corpus(*key, probed=True, trained=False, path=path))
    yield from corpora.values()


def _list_distinct(request: DecodeRequest) -> Iterable[tuple[Settings, Set[KeyPath]]]:
    """Returns the settings of trials that differ in audio, with those settings that may be unknown.

    Most trials of a study read the same audio.
    """
    distinct: dict[str, tuple[Settings, Set[KeyPath]]] = {}
    pairs = itertools.zip_longest(request.trials, request.optional, fillvalue=())
    for trial, optional in pairs:
        settings: Settings = {key: value for key, value in dict(trial).items() if key in AUDIO_KEYS}
        key = json.dumps([settings, sorted(optional)], sort_keys=True)
        distinct[key] = (settings, frozenset(optional))
    return distinct.values()


def _build(settings: Settings, optional: Set[KeyPath], key: str, expect: type[T]) -> T:
    """Builds one part of a trial, without the optional settings that it lacks."""
    while True:
        try:
            return build(settings[key], expect=expect, path=("baseline", key))
        except PartError as error:
            unknown = [p.path[1:] for p in error.problems if p.unknown and p.path[1:] in optional]
            if not unknown:
                raise
            for path in unknown:
                settings = remove_nested(settings, path)
