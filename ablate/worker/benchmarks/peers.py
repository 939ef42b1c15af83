"""Compares training steps with those of other code, in alternation, round after round.

Both sides have the same grid, sizes, batch, number format and threads. Each round gives one ratio
of times; reported are their median and its interval, so that other load on the machine, which
slows both sides alike, hardly matters.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from math import ceil
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch

from ablate.core.records.benchmarks import (
    NamedTrial,
    PeerTiming,
    PeerTimingsReply,
    PeerTimingsRequest,
)
from ablate.core.records.messages import ProgressMessage
from ablate.parts import PartError, Problem, build
from ablate.worker.benchmarks.audio_jepa_step import build_audio_jepa_steps
from ablate.worker.benchmarks.ijepa_step import build_ijepa_steps
from ablate.worker.benchmarks.median_interval import MIN_VALUES, compute_median_interval
from ablate.worker.benchmarks.peer_checkouts import (
    AUDIO_JEPA,
    IJEPA,
    PeerError,
    describe_other_commit,
)
from ablate.worker.benchmarks.peer_steps import PeerSizes
from ablate.worker.benchmarks.steps import (
    Runner,
    build_plain_runner,
    build_runner,
    read_clock,
)
from ablate.worker.datasets import Emit
from ablate.worker.settings_checks import fill_in_matches
from ablate.worker.trial import Trial
from ablate.worker.units import convert_sizes

MAX_ROUNDS = 60
MIN_SECONDS = 0.2  # duration of one side in a round; as many steps are taken
STEP, TOKEN = "step", "context token"
RANDOM, BLOCKS = "random", "blocks, per target"
PAIRS = (  # ours, the peer's, and what the times are divided by
    (RANDOM, "plain dense JEPA", STEP),
    (RANDOM, "I-JEPA, random", STEP),
    (RANDOM, "Audio-JEPA, flash-attn", STEP),
    (RANDOM, "Audio-JEPA, written-out attention", STEP),
    (RANDOM, "Audio-JEPA, SDPA", STEP),
    (BLOCKS, "I-JEPA, blocks", TOKEN),
)


class Side(NamedTuple):
    """A step that is timed, and how many visible tokens its masks have had per step."""

    take: Callable[[], object]
    count_context: Callable[[], float]


def time_peers(request: PeerTimingsRequest, emit: Emit) -> PeerTimingsReply:
    """Compares our training steps with those of the checkouts that there are.

    Takes at least six rounds, and up to about the request's `seconds` for each size. Raises
    `PartError` if there is no checkout that can be used.
    """
    device = torch.device(request.device)
    timings: list[PeerTiming] = []
    problems: list[str] = []
    for size, variants in request.sizes.items():
        trials = {variant.name: _build_trial(variant) for variant in variants}
        sides, problems = _build_sides(request, trials, device)
        seconds = _run_rounds(size, sides, request.seconds, partial(read_clock, device), emit)
        pairs = [pair for pair in PAIRS if pair[0] in sides and pair[1] in sides]
        timings += [_compare(size, pair, sides, seconds) for pair in pairs]
        first = next(iter(trials.values()))
    return PeerTimingsReply(
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        precision=first.optimizer.precision,
        batch=first.budget.batch,
        timings=tuple(timings),
        problems=tuple(problems),
    )


def _build_trial(variant: NamedTrial) -> Trial:
    return build(fill_in_matches(convert_sizes(variant.settings))[0], expect=Trial)


def _build_sides(
    request: PeerTimingsRequest, trials: dict[str, Trial], device: torch.device
) -> tuple[dict[str, Side], list[str]]:
    """Builds all steps; returns them by name, and why some cannot be built.

    Raises `PartError` if no peer can be built.
    """
    sides, problems = _build_peer_sides(request.folder, trials, device)
    for name, trial in trials.items():
        runner = build_runner(name, trial, device, partial(read_clock, device))
        sides[name] = Side(runner.step, partial(_count_tokens, runner))
        plain = build_plain_runner(trial, runner, device)
        if plain is not None:
            sides[plain.name] = Side(plain.step, sides[name].count_context)
    return sides, problems


def _build_peer_sides(
    folder: Path, trials: dict[str, Trial], device: torch.device
) -> tuple[dict[str, Side], list[str]]:
    sides: dict[str, Side] = {}
    problems: list[str] = []
    sizes = PeerSizes.from_trial(trials[RANDOM], device)
    for peer, build_steps in ((IJEPA, build_ijepa_steps), (AUDIO_JEPA, build_audio_jepa_steps)):
        try:
            steps = build_steps(folder, sizes)
        except PeerError as error:
            problems.append(str(error))
            continue
        sides |= {step.name: _count_steps_tokens(step.take) for step in steps}
        other_commit = describe_other_commit(peer, folder)
        problems += [other_commit] if other_commit else []
    if not sides:
        raise PartError([Problem(path=(), message=problem) for problem in problems])
    return sides, problems


def _count_tokens(runner: Runner) -> float:
    return runner.usage()["context"]


def _count_steps_tokens(take: Callable[[], int]) -> Side:
    counts: list[int] = []
    return Side(lambda: counts.append(take()), lambda: sum(counts) / len(counts))


def _run_rounds(
    size: str,
    sides: dict[str, Side],
    seconds: float,
    clock: Callable[[], float],
    emit: Emit,
) -> dict[str, list[float]]:
    """Returns the seconds per step of each side per round; every second goes backwards."""
    repeats = {name: _choose_repeats(side, clock) for name, side in sides.items()}
    durations: dict[str, list[float]] = {name: [] for name in sides}
    until = time.monotonic() + seconds
    for done in range(MAX_ROUNDS):
        if done >= MIN_VALUES and time.monotonic() > until:
            break
        emit(ProgressMessage(label=f"{size}: rounds", done=done, total=MAX_ROUNDS))
        for name in [*sides][:: 1 if done % 2 == 0 else -1]:
            started = clock()
            for _ in range(repeats[name]):
                sides[name].take()
            durations[name].append((clock() - started) / repeats[name])
    return durations


def _choose_repeats(side: Side, clock: Callable[[], float]) -> int:
    """Returns how many steps take `MIN_SECONDS`; the first one is slow."""
    for _ in range(2):
        started = clock()
        side.take()
        duration = clock() - started
        if duration >= MIN_SECONDS:
            return 1
    return ceil(MIN_SECONDS / max(duration, 1e-6))


def _compare(
    size: str,
    pair: tuple[str, str, str],
    sides: dict[str, Side],
    seconds: dict[str, list[float]],
) -> PeerTiming:
    ours, peer, per = pair
    contexts = [sides[name].count_context() for name in (ours, peer)]
    tokens = contexts[0] / contexts[1] if per == TOKEN else 1.0
    ratios: Sequence[float] = [
        tokens * theirs / own for own, theirs in zip(seconds[ours], seconds[peer], strict=True)
    ]
    return PeerTiming(
        size=size,
        ours=ours,
        peer=peer,
        per=per,
        ratio=median(ratios),
        interval=compute_median_interval(ratios),
        rounds=len(ratios),
        milliseconds=1000 * median(seconds[ours]),
        peer_milliseconds=1000 * median(seconds[peer]),
        context=contexts[0],
        peer_context=contexts[1],
    )
