"""`ablate bench steps` with the real worker on a small study, and its summary."""

import json
from pathlib import Path

import pytest

from ablate.cli import bench
from ablate.cli.bench_loader import benchmark_loader

STUDY = """
study: small
baseline:
  data: {type: ablate.audio.synthetic.Synthetic}
  mel: {type: ablate.audio.mel.LogMel, bands: 32}
  crop_frames: 64
  patchifier: {type: ablate.model.patchify.Rectangles, freq: 16, time: 16}
  masker: {type: maskers.Random, ratio: 0.5}
  encoder: {type: ablate.model.vit.ViT, dim: 16, layers: 1, heads: 2}
  predictor: {type: ablate.model.predictor.Joint, dim: 16, layers: 1, heads: 2}
  objective: {type: ablate.model.objectives.SmoothL1}
  budget: {steps: 10, batch: 4}
  batching: pack
factors:
  batching: [pack, pad]
seeds: 2
"""


def test_each_variant_of_a_study_is_timed_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ABLATE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "small.yaml").write_text(STUDY)
    output = tmp_path / "bench.json"
    code = bench.benchmark_steps(tmp_path / "small.yaml", batch=3, seconds=0, output=output)
    assert code == 0
    summary = json.loads(output.read_text())
    assert [step["name"] for step in summary["steps"]] == ["pack", "pad", "plain dense JEPA"]
    variant, plain = (summary["steps"][index]["milliseconds"] for index in (0, 2))
    assert summary["speed_of_plain"] == pytest.approx(plain / variant)
    assert "times the speed of a plain dense JEPA" in capsys.readouterr().out
    assert not (tmp_path / "cache").exists()


def test_the_loading_of_a_study_is_timed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "small.yaml").write_text(STUDY)
    assert benchmark_loader(tmp_path / "small.yaml", batch=3) == 0
    printed = capsys.readouterr().out
    assert "batches of 3 clips of 64 frames and 32 bands" in printed
    for part in ("stack the stored frames", "draw ahead", "normalise on cpu"):
        [line] = [line for line in printed.splitlines() if part in line]
        assert float(line.split()[-1].replace(",", "")) > 0


def test_the_summary_states_the_gain_of_packing_for_built_in_variants() -> None:
    times = {"blocks, pack": 10.0, "blocks, pad": 13.0, "blocks, truncate_first": 8.0}
    steps = [
        {"name": name, "compared_with": None, "problem": None, "milliseconds": milliseconds}
        for name, milliseconds in times.items()
    ]
    steps.append({"name": "blocks, truncate_random", "compared_with": None, "problem": "no"})
    measured = {
        "device": "cpu",
        "threads": 1,
        "torch": "2",
        "ceiling_tflops": {"fp32": 0.1},
        "steps": steps,
        "kernels": [],
    }
    summary = bench.summarise_steps(measured)
    assert summary["packing_faster_than"] == {"pad": 1.3, "truncate_first": 0.8}
    assert summary["speed_of_plain"] is None
    assert "packing is 1.30 times as fast as pad" in bench.describe_steps(summary)[-2]


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_built_in_variants_differ_only_in_masker_and_batching(kind: str) -> None:
    variants = bench.get_builtin_variants(kind)
    names = [variant["name"] for variant in variants]
    assert names[1:] == [f"blocks, {batching}" for batching in bench.BATCHINGS]
    encoders = {json.dumps(variant["settings"]["encoder"]) for variant in variants}
    assert len(encoders) == 1
