"""The purposes for which a trial draws random numbers, and the settings that hold their seeds."""

from collections.abc import Mapping

SETTINGS = {"init": "seed", "order": "order_seed", "masks": "mask_seed", "probe": "probe_seed"}
DESCRIPTIONS = {
    "init": "initial weights",
    "order": "order of clips",
    "masks": "masks",
    "probe": "fine-tuning of the probe",
}


def build_seed_settings(seeds: Mapping[str, int]) -> dict[str, int]:
    """Builds the settings of a trial from the seed of each purpose.

    A purpose with the seed of the initial weights has no setting of its own, so that a trial whose
    purposes share one seed is that of a study which separates none.
    """
    seed = seeds["init"]
    own = {SETTINGS[purpose]: value for purpose, value in seeds.items() if value != seed}
    return {"seed": seed, **own}


def get_seeds(settings: Mapping[str, object]) -> dict[str, int]:
    """Returns the seeds among the settings of a trial, by the name of the setting."""
    values = {name: settings.get(name) for name in SETTINGS.values()}
    return {name: seed for name, seed in values.items() if isinstance(seed, int)}
