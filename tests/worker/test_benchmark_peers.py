"""Other code is imported from checkouts without mixing it up, and compared with an interval."""

import os
import subprocess
import sys
from math import comb
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.cli.bench_peers import build_sizes
from ablate.core.records.benchmarks import PeerTimingsRequest
from ablate.parts import PartError
from ablate.worker.benchmarks.median_interval import MIN_VALUES, compute_median_interval
from ablate.worker.benchmarks.peer_checkouts import (
    AUDIO_JEPA,
    IJEPA,
    PeerError,
    describe_other_commit,
    import_modules,
)
from ablate.worker.benchmarks.peers import PAIRS, time_peers

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=MIN_VALUES, max_size=80)


def write_checkout(folder: Path, name: str, code: str) -> None:
    models = folder / name / "src" / "models"
    models.mkdir(parents=True)
    (models / "network.py").write_text(f"from src.models.sizes import SIZE\n{code}\n")
    (models / "sizes.py").write_text(f"SIZE = {len(name)}\n")
    (models / "__init__.py").write_text("raise RuntimeError('tools for training')\n")


def create_request(folder: Path) -> PeerTimingsRequest:
    return PeerTimingsRequest(folder=folder, sizes=build_sizes("cpu"), device="cpu", seconds=0)


@given(values=VALUES)
def test_the_interval_encloses_the_median_with_95_percent_and_no_shorter_one_does(
    values: list[float],
) -> None:
    low, high = compute_median_interval(values)
    ordered, count = sorted(values), len(values)
    confident = []
    for below in range(count // 2):
        # the median of the distribution lies between these two unless all but `below` values, or
        # more, are on one side of it
        outside = sum(comb(count, k) for k in range(below + 1)) * 2 / 2**count
        if outside <= 0.05:
            confident.append((ordered[below], ordered[-1 - below]))
    assert (low, high) == confident[-1]


def test_an_interval_of_five_rounds_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least 6 values; got 5"):
        compute_median_interval([1.0] * 5)


def test_packages_of_the_same_name_stay_apart(tmp_path: Path) -> None:
    write_checkout(tmp_path, IJEPA.folder, "NAME = 'i-jepa'")
    write_checkout(tmp_path, AUDIO_JEPA.folder, "from some_kernels.mha import MHA\nNAME = 'audio'")
    kernels, attention = ModuleType("some_kernels"), ModuleType("some_kernels.mha")
    attention.MHA = dict  # type: ignore[attr-defined]
    replaced = {"some_kernels": kernels, "some_kernels.mha": attention}
    before = dict(sys.modules)
    [first] = import_modules(IJEPA, tmp_path, ["models.network"])
    [second] = import_modules(AUDIO_JEPA, tmp_path, ["models.network"], replaced=replaced)
    assert ("i-jepa", len("ijepa")) == (first.NAME, first.SIZE)
    assert ("audio", len("Audio-JEPA"), dict) == (second.NAME, second.SIZE, second.MHA)
    assert sys.modules == before


def test_what_is_missing_is_named_with_the_command_that_gets_it(tmp_path: Path) -> None:
    with pytest.raises(PartError) as caught:
        time_peers(create_request(tmp_path), lambda message: None)
    for peer, problem in zip((IJEPA, AUDIO_JEPA), caught.value.problems, strict=True):
        assert f"cd {tmp_path} && git clone {peer.address} {peer.folder}" in problem.message
        assert f"checkout {peer.commit}" in problem.message
    write_checkout(tmp_path, AUDIO_JEPA.folder, "import h5py_of_nowhere")
    with pytest.raises(PeerError, match=r"h5py_of_nowhere.*: pip install h5py av"):
        import_modules(AUDIO_JEPA, tmp_path, ["models.network"])
    with pytest.raises(PeerError, match=r"no module src\.masks: git -C .* checkout"):
        import_modules(AUDIO_JEPA, tmp_path, ["masks.random"])


def test_another_commit_is_named(tmp_path: Path) -> None:
    checkout = tmp_path / IJEPA.folder
    subprocess.run(["git", "init", "-q", checkout], check=True)
    person = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    commit = ["commit", "-q", "--allow-empty", "-m", "other"]
    subprocess.run(["git", "-C", checkout, *person, *commit], check=True)
    problem = describe_other_commit(IJEPA, tmp_path)
    assert problem is not None
    assert problem.endswith(f"not at {IJEPA.commit}")


@pytest.mark.skipif(
    "ABLATE_PEERS" not in os.environ,
    reason="needs other code: set ABLATE_PEERS to a folder of checkouts, see docs/performance.md",
)
def test_every_step_of_other_code_is_compared() -> None:
    sizes = [*build_sizes("cpu").items()][:1]
    folder = Path(os.environ["ABLATE_PEERS"])
    request = PeerTimingsRequest(folder=folder, sizes=dict(sizes), device="cpu", seconds=0)
    reply = time_peers(request, lambda message: None)
    assert reply.problems == ()
    expected = [pair for pair in PAIRS if "flash" not in pair[1]]
    assert [(t.ours, t.peer, t.per) for t in reply.timings] == expected
    for timing in reply.timings:
        assert timing.interval[0] <= timing.ratio <= timing.interval[1]
        assert timing.context > 0
