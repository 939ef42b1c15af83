"""An exported encoder returns the features that the run's probes used, and can be moved."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

import ablate
from ablate.cli.main import app
from ablate.core.io import read_json
from ablate.core.records.export import Benchmark, CardDetails
from ablate.core.records.run import RunConfig
from ablate.export.export import export_encoder
from ablate.parts import get_identity
from ablate.probing.features import extract_features
from ablate.probing.knn import KNN
from ablate.probing.neural import Linear
from ablate.probing.probe import Content
from ablate.probing.verification import Verification
from ablate.probing.views import View, Views
from ablate.worker.probe_runner import ProbeRunner
from tests.run_folders import write_score


@pytest.mark.parametrize("view", [View("concat_freq"), View("mean_std", 1), View("max", "mean")])
def test_exported_features_are_the_runs_bit_for_bit(exported, view):
    encoder = ablate.load_encoder(exported.folder)
    reader = ProbeRunner(exported.run, exported.trial, exported.audio, torch.device("cpu")).reader
    for index, file in enumerate(exported.files):
        [block] = extract_features(reader, exported.audio.store, [index], [view])
        actual = encoder.features(file, view=view).numpy()
        assert np.array_equal(actual, block[view].rows[0])


def test_a_folder_can_be_moved_and_a_run_deleted(exported, tmp_path):
    moved = shutil.copytree(exported.folder, tmp_path / "elsewhere")
    first, second = (
        ablate.load_encoder(folder).features(exported.files[1])
        for folder in (exported.folder, moved)
    )
    assert torch.equal(first, second)
    assert first.shape == (ablate.load_encoder(moved).dim,) == (32,)


def test_a_waveform_at_another_rate_has_the_same_features(exported, tmp_path):
    encoder = ablate.load_encoder(exported.folder)
    time = torch.arange(24000) / 24000
    tone = torch.sin(2 * torch.pi * 440 * time)
    soundfile.write(tmp_path / "tone.wav", tone.numpy(), 24000, subtype="FLOAT")
    from_file = encoder.features(tmp_path / "tone.wav")
    assert torch.equal(from_file, encoder.features(tone, sample_rate=24000))
    at_own_rate = torch.sin(2 * torch.pi * 440 * torch.arange(16000) / 16000)
    near = torch.cosine_similarity(from_file, encoder.features(at_own_rate), dim=0)
    assert near > 0.99
    with pytest.raises(ValueError, match="`sample_rate` is for waveforms"):
        encoder.features(tmp_path / "tone.wav", sample_rate=16000)


def test_the_card_contains_settings_and_scores(exported):
    card = (exported.folder / "README.md").read_text()
    assert card.startswith('---\nlibrary_name: "ablate"\n')
    assert "| noise | KNN | mean | accuracy | 12.5 |" in card
    assert "10 steps of 2 clips each, seed 3" in card
    assert read_json(exported.folder / "encoder.json")["weights"] in card


def add_score(run, name, settings):
    """Writes a score of 50 percent by a probe into a run's folder."""
    write_score(run, "noise", settings, name, mean={"test": 50.0})


@pytest.mark.parametrize(
    ("settings", "cell"),
    [
        (get_identity(KNN()), "KNN"),
        (get_identity(KNN(k=200)), "KNN(k=200)"),
        (get_identity(KNN(views=Views(poolings=("max",)))), "KNN"),
        (get_identity(Linear(rate=0.01, choice="last")), 'Linear(rate=0.01, choice="last")'),
        ({"type": "ablate.probing.neural.Linear", "hidden": 8}, "Linear(version=1, hidden=8)"),
        ({"type": "gone_lab.Probe", "of": "/home/me/a"}, 'Probe(of="a")'),
        (
            get_identity(KNN(content=Content(digest="0123456789", tasks=("a",)))),
            'KNN(clips="01234567")',
        ),
    ],
)
def test_the_card_distinguishes_probes_of_one_class(exported, tmp_path, settings, cell):
    run = shutil.copytree(exported.run, tmp_path / exported.run.name)
    add_score(run, "another", settings)
    card = (export_encoder(run, tmp_path / "out") / "README.md").read_text()
    assert f"| noise | {cell} | mean | accuracy | 50.0 |" in card


def test_the_card_does_not_contain_the_location_of_the_data(exported):
    manifest = exported.trial.data.manifest
    card = (exported.folder / "README.md").read_text()
    assert str(Path(manifest).parent) not in card
    assert '"manifest": "m.csv"' in card


def test_only_its_own_export_is_overwritten(exported, other, tmp_path):
    assert export_encoder(exported.run, exported.folder) == exported.folder
    with pytest.raises(ValueError, match="contains other files"):
        export_encoder(exported.run, other)
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match="contains other files"):
        export_encoder(exported.run, tmp_path)


@pytest.mark.parametrize("problem", ["damaged score", "no such task", "no source"])
def test_a_failed_export_leaves_everything_as_it_was(exported, tmp_path, problem):
    run = shutil.copytree(exported.run, tmp_path / exported.run.name)
    folders = tmp_path / "new", export_encoder(exported.run, tmp_path / "old")
    before = {file: file.read_bytes() for file in folders[1].rglob("*")}
    card, settings = CardDetails(), {}
    if problem == "damaged score":
        next(run.glob("probes/*/*.json")).write_text("{")
    elif problem == "no such task":
        card = CardDetails(benchmarks=(Benchmark("dogs", "me/dogs", "all"),))
    else:
        config = RunConfig.read(run / "config.json")
        config.settings["masker"] = {"type": "maskers.Random"}
        config.settings["encoder"] = {**config.settings["encoder"], "type": "gone_lab.ViT"}
        config.write(run / "config.json")
        settings = {"with_source": True}
    for folder in folders:
        with pytest.raises(ValueError, match=r"."):
            export_encoder(run, folder, card, **settings)
    assert not folders[0].exists()
    assert {file: file.read_bytes() for file in folders[1].rglob("*")} == before


def test_scores_are_listed_for_the_leaderboards_that_are_named(exported, tmp_path):
    run = shutil.copytree(exported.run, tmp_path / exported.run.name)
    add_score(run, "another", get_identity(KNN(k=200)))
    card = CardDetails(benchmarks=(Benchmark.parse("noise=me/noise-set:all"),))
    folder = export_encoder(run, tmp_path / "out", card)
    files = sorted((folder / ".eval_results").iterdir())
    assert [file.name for file in files] == ["noise-1.yaml", "noise-2.yaml"]
    entries = [entry for file in files for entry in json.loads(file.read_text())]
    assert [entry["dataset"] for entry in entries] == [{"id": "me/noise-set", "task_id": "all"}] * 2
    assert sorted(entry["value"] for entry in entries) == [12.5, 50.0]
    notes = {entry["value"]: entry["notes"] for entry in entries}
    assert notes[50.0] == "frozen encoder, KNN(k=200) on mean, accuracy in percent"
    other = Benchmark.parse("noise=me/other-set:all")
    export_encoder(run, folder, CardDetails(benchmarks=(*card.benchmarks, other)))
    entries = [json.loads(file.read_text())[0] for file in (folder / ".eval_results").iterdir()]
    listed = sorted((entry["dataset"]["id"], entry["value"]) for entry in entries)
    assert listed == [
        (f"me/{name}-set", value) for name in ("noise", "other") for value in (12.5, 50)
    ]
    export_encoder(run, folder)  # without leaderboards
    assert not (folder / ".eval_results").exists()


def test_an_error_rate_is_not_listed_as_its_score(exported, tmp_path):
    run = shutil.copytree(exported.run, tmp_path / exported.run.name)
    score = {"test": 70.0, "metric": "eer", "metrics": {"eer": 30.0}}
    write_score(run, "noise", get_identity(Verification()), "pairs", mean=score)
    card = CardDetails(benchmarks=(Benchmark("noise", "me/noise-set", "all"),))
    folder = export_encoder(run, tmp_path / "out", card)
    entries = [json.loads(file.read_text())[0] for file in (folder / ".eval_results").iterdir()]
    assert 30.0 in [entry["value"] for entry in entries if "eer" in entry["notes"]]
    assert "| noise | Verification | mean | eer | 30.0 |" in (folder / "README.md").read_text()


@pytest.mark.parametrize("text", ["noise", "noise=set:all", "=me/set:all", "noise=me/set"])
def test_a_leaderboard_needs_task_data_set_and_id(text):
    with pytest.raises(ValueError, match=f"TASK=OWNER/DATASET:TASK_ID; got `{text}`"):
        Benchmark.parse(text)


def test_a_folder_without_an_encoder_is_rejected(tmp_path):
    with pytest.raises(ValueError, match="has no trained encoder"):
        export_encoder(tmp_path, tmp_path / "out")
    with pytest.raises(ValueError, match=r"has no `encoder\.json`; write one with `ablate export"):
        ablate.load_encoder(tmp_path)


def test_the_command_finds_a_run_by_its_prefix(exported, tmp_path, monkeypatch):
    monkeypatch.setenv("ABLATE_RUNS", str(exported.run.parent))
    result = CliRunner().invoke(
        app, ["export", exported.run.name[:4], "--to", str(tmp_path / "out")]
    )
    assert result.exit_code == 0, result.output
    code = "".join(line.strip() + "\n" for line in result.output.splitlines()[1:])
    names: dict[str, torch.Tensor] = {}
    exec(code.replace("dog.wav", str(exported.files[0])), names)
    assert names["features"].isfinite().all()
    failed = CliRunner().invoke(app, ["export", "none", "--to", str(tmp_path / "no")])
    assert failed.exit_code == 2
