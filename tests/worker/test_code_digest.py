"""Changed code of a user's part is reported, because a run is identified by its settings only."""

import importlib
import sys

import pytest

from ablate.runs import preview
from tests.plans import make_entry, make_plan
from tests.worker.runs import create_run_folder, plan_trial, run_folder

PROBES = {"knn": {"type": "ablate.probing.knn.KNN", "k": 1}}
MODULE = '''\
"""A user's part."""

from dataclasses import dataclass

from maskers import Random


@dataclass(frozen=True, kw_only=True)
class UserRandom(Random):
    {}
'''


@pytest.fixture
def write_module(tmp_path, monkeypatch):
    """Writes the user's module, and returns a function that writes it with another body."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(body="pass"):
        (tmp_path / "user_lab.py").write_text(MODULE.format(body))
        sys.modules.pop("user_lab", None)
        importlib.invalidate_caches()

    write()
    yield write
    sys.modules.pop("user_lab", None)


def build_plan(trial):
    return make_plan(make_entry(trial.fingerprint, facts=trial.facts))


def test_a_user_part_that_changed_since_a_run_is_reported(settings, cache, tmp_path, write_module):
    short = settings | {"budget": {"steps": 2, "batch": 4}}
    short["masker"] = {"type": "user_lab.UserRandom"}
    trial = plan_trial(short, cache, PROBES)
    folder = create_run_folder(tmp_path / "runs", trial)
    assert run_folder(folder, cache, PROBES).state == "done"
    assert preview.format_code_warnings(build_plan(trial), folder.parent) == []
    write_module("'does something else'")
    again = plan_trial(short, cache, PROBES)
    assert again.fingerprint == trial.fingerprint
    [warning] = preview.format_code_warnings(build_plan(again), folder.parent)
    assert "`user_lab.UserRandom` has changed" in warning


def test_parts_of_ablate_and_of_the_zoo_have_no_digest(settings, cache):
    trial = plan_trial(settings | {"masker": {"type": "maskers.Random"}}, cache, PROBES)
    assert trial.facts.parts == {}
