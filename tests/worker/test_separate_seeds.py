"""A trial draws initial weights, clips and masks from the seeds that its settings name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ablate.core.seeds import SETTINGS, build_seed_settings
from ablate.parts import build
from ablate.study.prepare import list_references
from ablate.training.checkpoint import Checkpoints
from ablate.training.distributed import Ranks
from ablate.training.signals import StopSignal
from ablate.worker.audio_data import open_audio
from ablate.worker.train import build_trainer
from ablate.worker.trial import KINDS, Trial, compute_fingerprint
from tests.worker.runs import plan_trial, plan_trials

PURPOSES = ("init", "order", "masks")


def draw(settings: Mapping[str, Any], cache: Path) -> dict[str, list[torch.Tensor]]:
    """Draws what each purpose decides: all weights, and clips and masks of two steps."""
    trial = build(dict(settings), expect=Trial)
    loader = open_audio(trial.data, trial.mel, cache).build_loader(trial)
    checkpoints = Checkpoints(cache / "no checkpoints")
    trainer = build_trainer(trial, loader, torch.device("cpu"), Ranks(), checkpoints, StopSignal())
    batches = [trainer.drawer.draw(step) for step in (0, 7)]
    return {
        "init": [weights.detach() for weights in trainer.jepa.state_dict().values()],
        "order": [batch.batch.mels for batch in batches],
        "masks": [batch.mask.targets for batch in batches],
    }


def test_a_held_purpose_draws_the_same_bits_and_a_varied_one_others(
    settings: dict[str, Any], cache: Path
) -> None:
    plain = draw(settings, cache)
    for purpose in PURPOSES:
        seeds = dict.fromkeys(PURPOSES, 0) | {purpose: 1}
        drawn = draw({**settings, **build_seed_settings(seeds)}, cache)
        same = {
            name: all(torch.equal(*pair) for pair in zip(plain[name], drawn[name], strict=True))
            for name in PURPOSES
        }
        assert same == {name: name != purpose for name in PURPOSES}


def test_every_seed_of_its_own_gives_a_trial_of_its_own_planned_once_for_all(
    settings: dict[str, Any], cache: Path
) -> None:
    seeds = [dict.fromkeys(PURPOSES, 0) | {purpose: 1} for purpose in PURPOSES]
    written = [{**settings, **build_seed_settings(each)} for each in (*seeds, {"init": 0})]
    planned = plan_trials(written, {}, cache).get_resolved()
    alone = [plan_trial(each, cache).fingerprint for each in written]
    assert [trial.fingerprint for trial in planned] == alone
    assert len({*alone}) == len(alone)
    names = SETTINGS.values()
    for trial, each in zip(planned, written, strict=True):
        own = {name: trial.settings[name] for name in names if name in trial.settings}
        assert own == {name: each[name] for name in names if name in each}
    inits = [trial.random_init.fingerprint for trial in planned]
    assert len({*inits}) == 2  # only the seed of the weights matters to an untrained encoder
    assert inits[1] == inits[2] == inits[3]


def test_every_reference_of_a_trial_has_the_fingerprint_of_its_settings(
    settings: dict[str, Any], cache: Path
) -> None:
    for seeds in ({"init": 0}, {"init": 0, "order": 1, "masks": 2, "probe": 7}):
        written = {**settings, **build_seed_settings(seeds)}
        trial = build(dict(written), expect=Trial)
        digest = open_audio(trial.data, trial.mel, cache).store.digest
        other = {**written, "patchifier": {**written["patchifier"], "time": 8}}
        planned = plan_trials([written, other], {}, cache, random_inits=3).get_resolved()
        references = list(list_references(planned[0]))
        assert len({reference.fingerprint for reference in references}) == 4
        for reference in references:
            part = build(dict(reference.settings), expect=KINDS[reference.kind])
            assert compute_fingerprint(part, digest) == reference.fingerprint
