"""Builds the replies about a valid trial: its runs, with settings and fingerprint, for any seed."""

import dataclasses
from collections.abc import Mapping, Sequence

from ablate.core.random import derive
from ablate.core.records.plan import TrialFacts
from ablate.core.records.planning import FurtherInit, ResolvedRun, ResolvedTrial, TrialReply
from ablate.core.seeds import SETTINGS
from ablate.parts import resolve
from ablate.worker.audio_data import AudioData
from ablate.worker.trial import Evaluable, Trial, get_identity_settings, get_kind, hash_settings

KeyPath = tuple[str, ...]  # keys that lead to a setting


class _ConfigBuilder:
    """Builds the configuration of one run for any seeds."""

    def __init__(self, evaluable: Evaluable, audio: AudioData) -> None:
        self._kind = get_kind(evaluable)
        self._settings = resolve(evaluable)
        self._identity = get_identity_settings(evaluable, audio.store.digest)
        for name in ("type", *SETTINGS.values()):  # the type is implied by the kind
            self._settings.pop(name, None)
        for name in SETTINGS.values():
            self._identity.pop(name, None)
        self._names = {field.name for field in dataclasses.fields(evaluable)}

    def build(self, seeds: Mapping[str, int]) -> ResolvedRun:
        """Builds it for seeds by the name of their setting; those it does not have are left out."""
        own = {name: seed for name, seed in seeds.items() if name in self._names}
        return ResolvedRun(
            kind=self._kind,
            settings={**self._settings, **own},
            fingerprint=self._compute_fingerprint(own),
        )

    def build_further(self, seeds: Mapping[str, int], seed: int) -> FurtherInit:
        """Returns the run of `seeds` with another seed of its weights, without its settings."""
        fingerprint = self.build({**seeds, "seed": seed}).fingerprint
        return FurtherInit(seed=seed, fingerprint=fingerprint)

    def _compute_fingerprint(self, seeds: Mapping[str, int]) -> str:
        return hash_settings({**self._identity, **seeds})


class ResolvedForAnySeed:
    """A valid trial whose audio was opened; everything but the seeds is fixed."""

    def __init__(
        self, trial: Trial, audio: AudioData, facts: TrialFacts, dropped: Sequence[KeyPath]
    ) -> None:
        self._trial = _ConfigBuilder(trial, audio)
        self._random_init = _ConfigBuilder(trial.random_init, audio)
        self._statistics = _ConfigBuilder(trial.statistics, audio).build({})
        self._facts, self._dropped = facts, dropped

    @property
    def random_init_key(self) -> str:
        """A key that trials share if their encoders of one seed are equal before training."""
        return self._random_init.build({"seed": 0}).fingerprint

    def reply(self, seeds: Mapping[str, int], random_inits: int) -> TrialReply:
        """Replies with the settings for seeds, and as many untrained encoders."""
        trial = self._trial.build(seeds)
        resolved = ResolvedTrial(
            kind=trial.kind,
            settings=trial.settings,
            fingerprint=trial.fingerprint,
            random_init=self._random_init.build(seeds),
            further_inits=tuple(
                self._random_init.build_further(seeds, derive(seeds["seed"], "random init", number))
                for number in range(1, random_inits)
            ),
            statistics=self._statistics,
            facts=self._facts,
        )
        return TrialReply(trial=resolved, dropped=tuple(self._dropped))
