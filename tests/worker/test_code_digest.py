"""Runs are known by settings: that a stranger's code has changed since is told."""

import importlib
import sys

import pytest
import torch

from ablate.runs import status as run_status
from ablate.runs import store
from ablate.training.signals import StopSignal
from ablate.worker.context import RunContext
from ablate.worker.run import run
from tests.plans import make_entry, make_plan
from tests.worker.plan_trials import plan_trial

PROBES = {"knn": {"type": "ablate.probing.knn.KNN", "k": 1}}
LAB = '''\
"""A stranger's part."""

from dataclasses import dataclass

from maskers import Random


@dataclass(frozen=True, kw_only=True)
class Mine(Random):
    {}
'''


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """Writes the stranger's module, as it is or with another body: `lab(body)`."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(body="pass"):
        (tmp_path / "foreign_lab.py").write_text(LAB.format(body))
        sys.modules.pop("foreign_lab", None)
        importlib.invalidate_caches()

    write()
    yield write
    sys.modules.pop("foreign_lab", None)


def planned(settings, cache, masker):
    return plan_trial(settings | {"masker": masker}, cache, PROBES)


def as_plan(trial):
    return make_plan(make_entry(trial.fingerprint, facts=trial.facts))


def test_a_part_that_was_rewritten_since_a_run_is_told(settings, cache, tmp_path, lab):
    mine = {"type": "foreign_lab.Mine"}
    short = settings | {"budget": {"steps": 2, "batch": 4}}
    trial = planned(short, cache, mine)
    folder = tmp_path / "runs" / trial.fingerprint
    store.write_config(folder, kind=trial.kind, settings=trial.settings)
    session = RunContext(torch.device("cpu"), cache, lambda event: None, StopSignal())
    assert run(folder, PROBES, session).state == "done"
    assert run_status.format_code_warnings(as_plan(trial), folder.parent) == []
    lab("'does something else'")
    again = planned(short, cache, mine)
    assert again.fingerprint == trial.fingerprint
    [told] = run_status.format_code_warnings(as_plan(again), folder.parent)
    assert "`foreign_lab.Mine` has changed" in told


def test_parts_of_ours_are_known_by_their_commit(settings, cache):
    trial = planned(settings, cache, {"type": "maskers.Random"})
    assert trial.facts.parts == {}
