"""An exported encoder returns the features that the run's probes used, and can be copied."""

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
from ablate.export.export import export
from ablate.parts import get_identity
from ablate.probing.features import extract_features
from ablate.probing.knn import KNN
from ablate.probing.neural import Linear
from ablate.probing.probe import Content
from ablate.probing.views import View, Views
from ablate.worker.evaluate import ProbeRunner
from tests.run_folders import write_score


@pytest.mark.parametrize("view", [View("concat_freq"), View("mean_std", 1), View("max", "mean")])
def test_exported_features_are_the_runs_bit_for_bit(exported, view):
    encoder = ablate.load_encoder(exported.folder)
    reader = ProbeRunner(exported.run, exported.trial, exported.sound, torch.device("cpu")).reader
    for index, file in enumerate(exported.files):
        [block] = extract_features(reader, exported.sound.store, [index], [view])
        found = encoder.features(file, view=view).numpy()
        assert np.array_equal(found, block[view].rows[0])


def test_a_folder_can_be_moved_and_a_run_deleted(exported, tmp_path):
    moved = shutil.copytree(exported.folder, tmp_path / "elsewhere")
    first, second = (
        ablate.load_encoder(folder).features(exported.files[1])
        for folder in (exported.folder, moved)
    )
    assert torch.equal(first, second)
    assert first.shape == (ablate.load_encoder(moved).dim,) == (32,)


def test_a_waveform_at_another_rate_is_heard_alike(exported, tmp_path):
    encoder = ablate.load_encoder(exported.folder)
    time = torch.arange(24000) / 24000
    tone = torch.sin(2 * torch.pi * 440 * time)
    soundfile.write(tmp_path / "tone.wav", tone.numpy(), 24000, subtype="FLOAT")
    from_file = encoder.features(tmp_path / "tone.wav")
    assert torch.equal(from_file, encoder.features(tone, sample_rate=24000))
    at_own_rate = torch.sin(2 * torch.pi * 440 * torch.arange(16000) / 16000)
    near = torch.cosine_similarity(from_file, encoder.features(at_own_rate), dim=0)
    assert near > 0.99
    with pytest.raises(ValueError, match="a file knows its own rate"):
        encoder.features(tmp_path / "tone.wav", sample_rate=16000)


def test_the_card_says_what_it_is_and_what_it_scored(exported):
    card = (exported.folder / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: ablate\n")
    assert "| noise | KNN | mean | accuracy | 12.5 |" in card
    assert "10 steps of 2 clips each, seed 3" in card
    assert read_json(exported.folder / "encoder.json")["weights"] in card


def scored(run, name, settings):
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
def test_the_card_tells_probes_of_one_class_apart(exported, tmp_path, settings, cell):
    run = shutil.copytree(exported.run, tmp_path / exported.run.name)
    scored(run, "another", settings)
    card = (export(run, tmp_path / "out") / "README.md").read_text()
    assert f"| noise | {cell} | mean | accuracy | 50.0 |" in card


def test_the_card_does_not_say_where_the_data_lies(exported):
    manifest = exported.trial.data.manifest
    card = (exported.folder / "README.md").read_text()
    assert str(Path(manifest).parent) not in card
    assert '"manifest": "m.csv"' in card


def test_only_its_own_export_is_written_over(exported, other, tmp_path):
    assert export(exported.run, exported.folder) == exported.folder
    with pytest.raises(ValueError, match="holds something else"):
        export(exported.run, other)
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match="holds something else"):
        export(exported.run, tmp_path)


def test_nothing_to_export_or_to_load_is_said(tmp_path):
    with pytest.raises(ValueError, match="holds no trained encoder"):
        export(tmp_path, tmp_path / "out")
    with pytest.raises(ValueError, match=r"holds no `encoder\.json`; `ablate export"):
        ablate.load_encoder(tmp_path)


def test_waveforms_of_no_length_are_refused(exported):
    encoder = ablate.load_encoder(exported.folder)
    for shape in ((16000,), (1, 0)):
        with pytest.raises(ValueError, match="waveforms must be"):
            encoder.moments(torch.zeros(shape))


def test_the_verb_finds_a_run_by_how_its_name_begins(exported, tmp_path, monkeypatch):
    monkeypatch.setenv("ABLATE_RUNS", str(exported.run.parent))
    told = CliRunner().invoke(app, ["export", exported.run.name[:4], "--to", str(tmp_path / "out")])
    assert told.exit_code == 0, told.output
    shown = "".join(line.strip() + "\n" for line in told.output.splitlines()[1:])
    names: dict[str, torch.Tensor] = {}
    exec(shown.replace("dog.wav", str(exported.files[0])), names)
    assert names["features"].isfinite().all()
    refused = CliRunner().invoke(app, ["export", "none", "--to", str(tmp_path / "no")])
    assert refused.exit_code == 2
