"""What changes a fingerprint, what changes a score's key alone, and what changes neither."""

import sys

import pytest

from ablate.parts import build
from ablate.probing.probe import AbstractProbe
from ablate.worker.evaluate import compute_score_key
from tests.worker.plan_trials import plan_trial

KNN = {"type": "ablate.probing.knn.KNN", "k": 3}
GUEST = """
from dataclasses import dataclass, field
from ablate.model.masking import AbstractMasker, Promises
from ablate.parts import AS_BEFORE, MATTERS_IF
from maskers import Random


@dataclass(frozen=True, kw_only=True)
class Guest(AbstractMasker):
    ratio: float = 0.6
    @property
    def promises(self):
        return Random(ratio=self.ratio).promises

    def draw(self, clips, generator):
        return Random(ratio=self.ratio).draw(clips, generator)
"""


MORE = "    @property"  # before it stands what a later version adds


@pytest.fixture
def fingerprint(settings, cache, tmp_path, monkeypatch):
    """Plans a trial with a guest's masker, whose source may be edited first."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # two sources of one second and size

    def of(old="", new="", probes=KNN, where=cache, **masker):
        (tmp_path / "guest.py").write_text(GUEST.replace(old, new) if old else GUEST)
        sys.modules.pop("guest", None)
        trial = {**settings, "masker": {"type": "guest.Guest", **masker}}
        found = plan_trial(trial, where, {"knn": probes})
        return found.fingerprint, compute_score_key(build(probes, expect=AbstractProbe))

    return of


def test_a_changed_default_changes_the_fingerprint(fingerprint):
    assert fingerprint("= 0.6", "= 0.7") != fingerprint()


def test_a_changed_version_changes_the_fingerprint(fingerprint):
    changed = fingerprint(MORE, "    version = 2\n" + MORE)
    assert changed[0] != fingerprint()[0]


def test_a_default_written_out_changes_nothing(fingerprint):
    assert fingerprint(ratio=0.6) == fingerprint()


def test_a_new_setting_that_means_as_before_changes_nothing(fingerprint):
    line = "    soft: bool = field(default=False, metadata={AS_BEFORE: False})\n" + MORE
    assert fingerprint(MORE, line) == fingerprint()
    assert fingerprint(MORE, line, soft=True) != fingerprint()


def test_a_setting_that_does_not_matter_changes_nothing(fingerprint):
    line = (
        """    soft: bool = False
    how: float = field(default=1.0, metadata={MATTERS_IF: {"soft": True}})
"""
        + MORE
    )
    one, other = (fingerprint(MORE, line, how=how) for how in (1.0, 2.0))
    assert one == other
    one, other = (fingerprint(MORE, line, how=how, soft=True) for how in (1.0, 2.0))
    assert one != other


def test_a_probe_changes_the_key_of_its_scores_alone(fingerprint):
    trial, key = fingerprint()
    other_trial, other_key = fingerprint(probes={**KNN, "temperature": 0.2})
    assert (other_trial == trial, other_key == key) == (True, False)


def test_where_things_lie_changes_nothing(fingerprint, tmp_path):
    assert fingerprint(where=tmp_path / "elsewhere") == fingerprint()
