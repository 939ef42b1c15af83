"""What was trained before a setting existed keeps its name."""

from typing import Any

from ablate.parts import build
from ablate.workshop.subjects import Trial, fingerprint


def test_a_trial_of_the_first_release_keeps_its_fingerprint(settings: dict[str, Any]) -> None:
    trial = build(settings, expect=Trial)
    found = [fingerprint(subject, "sound") for subject in (trial, trial.twin, trial.statistics)]
    assert found == ["d1701009ca", "ed6cf4e1f9", "622e698163"]
