"""The keys of a study, which are checked without torch, agree with the classes of the worker."""

import dataclasses

from ablate import parts
from ablate.config import checks
from ablate.config.checks import DEFAULT_PROBES
from ablate.config.keys import SETTINGS
from ablate.probing.probe import AbstractProbe
from ablate.probing.views import POOLINGS
from ablate.worker.trial import Trial


def test_a_study_has_a_key_for_every_setting_of_a_trial_except_its_seed() -> None:
    fields = {field.name for field in dataclasses.fields(Trial)}
    assert {*SETTINGS, "seed"} == {
        *fields,
        "crop_seconds",
    }  # `crop_seconds` is an alternative to `crop_frames`


def test_poolings_agree() -> None:
    assert checks.POOLINGS == POOLINGS


def test_the_default_probes_can_be_built() -> None:
    for settings in DEFAULT_PROBES.values():
        assert parts.build(settings, expect=AbstractProbe)
