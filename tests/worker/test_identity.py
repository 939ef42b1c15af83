"""Which changes of a part or a probe change the fingerprint of a trial, or the key of a score."""

import sys

import pytest

from ablate.parts import build
from ablate.probing.probe import AbstractProbe
from ablate.worker.evaluate import compute_score_key
from tests.worker.runs import plan_trial

KNN = {"type": "ablate.probing.knn.KNN", "k": 3}
MODULE = """
from dataclasses import dataclass, field
from ablate.model.masking import AbstractMasker, Promises
from ablate.parts import AS_BEFORE, MATTERS_IF
from maskers import Random


@dataclass(frozen=True, kw_only=True)
class UserMasker(AbstractMasker):
    ratio: float = 0.6
    @property
    def promises(self):
        return Random(ratio=self.ratio).promises

    def draw(self, clips, generator):
        return Random(ratio=self.ratio).draw(clips, generator)
"""


FIRST_METHOD = "    @property"  # tests insert fields before it


@pytest.fixture
def compute_keys(settings, cache, tmp_path, monkeypatch):
    """Returns a function that plans a trial with a user's masker, whose source may be edited."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # sources may have the same time and size

    def compute(old="", new="", probe=KNN, cache=cache, **masker):
        (tmp_path / "user_masker.py").write_text(MODULE.replace(old, new) if old else MODULE)
        sys.modules.pop("user_masker", None)
        trial = {**settings, "masker": {"type": "user_masker.UserMasker", **masker}}
        fingerprint = plan_trial(trial, cache, {"knn": probe}).fingerprint
        return fingerprint, compute_score_key(build(probe, expect=AbstractProbe))

    return compute


def test_a_changed_default_changes_the_fingerprint(compute_keys):
    assert compute_keys("= 0.6", "= 0.7") != compute_keys()


def test_a_changed_version_changes_the_fingerprint(compute_keys):
    changed = compute_keys(FIRST_METHOD, "    version = 2\n" + FIRST_METHOD)
    assert changed[0] != compute_keys()[0]


def test_an_explicit_default_changes_nothing(compute_keys):
    assert compute_keys(ratio=0.6) == compute_keys()


def test_a_new_setting_that_means_as_before_changes_nothing(compute_keys):
    line = "    soft: bool = field(default=False, metadata={AS_BEFORE: False})\n" + FIRST_METHOD
    assert compute_keys(FIRST_METHOD, line) == compute_keys()
    assert compute_keys(FIRST_METHOD, line, soft=True) != compute_keys()


def test_a_setting_that_does_not_matter_changes_nothing(compute_keys):
    line = (
        """    soft: bool = False
    how: float = field(default=1.0, metadata={MATTERS_IF: {"soft": True}})
"""
        + FIRST_METHOD
    )
    one, other = (compute_keys(FIRST_METHOD, line, how=how) for how in (1.0, 2.0))
    assert one == other
    one, other = (compute_keys(FIRST_METHOD, line, how=how, soft=True) for how in (1.0, 2.0))
    assert one != other


def test_settings_of_a_probe_change_only_the_key_of_its_scores(compute_keys):
    trial, key = compute_keys()
    other_trial, other_key = compute_keys(probe={**KNN, "temperature": 0.2})
    assert (other_trial == trial, other_key == key) == (True, False)


def test_the_cache_folder_changes_nothing(compute_keys, tmp_path):
    assert compute_keys(cache=tmp_path / "elsewhere") == compute_keys()
