"""Builds the replies about a valid trial: its runs, with settings and fingerprint, for any seed."""

from collections.abc import Mapping, Sequence

from ablate.core.random import derive
from ablate.core.records.plan import TrialFacts
from ablate.core.records.planning import FurtherInit, ResolvedRun, ResolvedTrial, TrialReply
from ablate.parts import resolve
from ablate.worker.audio_data import AudioData
from ablate.worker.trial import Evaluable, Trial, get_identity_settings, get_kind, hash_settings

KeyPath = tuple[str, ...]  # keys that lead to a setting


class _ConfigBuilder:
    """Builds the configuration of one run for any seed."""

    def __init__(self, evaluable: Evaluable, audio: AudioData) -> None:
        self._kind = get_kind(evaluable)
        self._settings = resolve(evaluable)
        del self._settings["type"]  # implied by the kind
        self._identity = get_identity_settings(evaluable, audio.store.digest)

    def build(self, **seed: int) -> ResolvedRun:
        return ResolvedRun(
            kind=self._kind,
            settings={**self._settings, **seed},
            fingerprint=self._compute_fingerprint(seed),
        )

    def build_further(self, seed: int) -> FurtherInit:
        """Returns the same run with another seed, without its settings."""
        return FurtherInit(seed=seed, fingerprint=self._compute_fingerprint({"seed": seed}))

    def _compute_fingerprint(self, seed: Mapping[str, int]) -> str:
        return hash_settings({**self._identity, **seed})


class ResolvedForAnySeed:
    """A valid trial whose audio was opened; everything but the seed is fixed."""

    def __init__(
        self, trial: Trial, audio: AudioData, facts: TrialFacts, dropped: Sequence[KeyPath]
    ) -> None:
        self._trial = _ConfigBuilder(trial, audio)
        self._random_init = _ConfigBuilder(trial.random_init, audio)
        self._statistics = _ConfigBuilder(trial.statistics, audio).build()
        self._facts, self._dropped = facts, dropped

    @property
    def random_init_key(self) -> str:
        """A key that trials share if their encoders of one seed are equal before training."""
        return self._random_init.build(seed=0).fingerprint

    def reply(self, seed: int, random_inits: int) -> TrialReply:
        """Replies with the settings for a seed, and as many untrained encoders."""
        trial = self._trial.build(seed=seed)
        resolved = ResolvedTrial(
            kind=trial.kind,
            settings=trial.settings,
            fingerprint=trial.fingerprint,
            random_init=self._random_init.build(seed=seed),
            further_inits=tuple(
                self._random_init.build_further(derive(seed, "random init", number))
                for number in range(1, random_inits)
            ),
            statistics=self._statistics,
            facts=self._facts,
        )
        return TrialReply(trial=resolved, dropped=tuple(self._dropped))
