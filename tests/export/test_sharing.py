"""An exported encoder is a module that can be trained, saved, shared and loaded by others."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import ablate
from ablate.cli.main import app
from ablate.core.io import read_json
from ablate.core.records.export import CardDetails
from ablate.core.records.run import RunConfig
from ablate.export import hub
from ablate.export.encoder import AudioEncoder
from ablate.export.export import export_encoder
from ablate.export.mteb import MtebEncoder
from ablate.parts import build
from ablate.worker import encoder_files
from ablate.worker.trial import Trial
from tests.export.test_adapters import load_adapter
from tests.export.untrained import RECIPES, export_recipe

OWN_PART = """
from dataclasses import dataclass
from ablate.model.patchify import AbstractPatchifier
from my_lab_of_tests import sizes

@dataclass(frozen=True, kw_only=True)
class Squares(AbstractPatchifier):
    side: int = sizes.SIDE

    @property
    def size(self):
        return self.side, self.side
"""


def make_noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)) / 4


@pytest.fixture
def encoder(exported):
    return ablate.load_encoder(exported.folder)


@pytest.mark.parametrize("name", RECIPES)
def test_forward_gives_the_features_over_time_of_every_recipe(name, tmp_path):
    encoder = ablate.load_encoder(export_recipe(name, tmp_path / name))
    waveforms = make_noise(2, int(2.3 * encoder.sample_rate))
    expected = encoder.features_over_time(waveforms)
    with torch.no_grad():
        assert torch.allclose(encoder(waveforms), expected, atol=1e-5)


def test_forward_is_differentiable_and_the_encoder_learns(encoder):
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    optimizer = torch.optim.SGD(encoder.train().parameters(), lr=0.1)
    losses = []
    for _ in range(5):
        loss = (encoder(make_noise(2, 12_000)) - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    after = encoder.state_dict()
    for name in ("normaliser.mean", "normaliser.std"):
        assert torch.equal(before[name], after[name])
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_features_compute_no_gradients(encoder):
    waveforms = make_noise(2, 12_000)
    assert not encoder.features(waveforms[0]).requires_grad
    assert not encoder.features_over_time(waveforms).requires_grad
    assert encoder(waveforms).requires_grad


def test_padding_changes_nothing_with_lengths(encoder):
    short, long = make_noise(9_000), make_noise(30_000)
    batch = torch.zeros(2, 30_000)
    batch[0, :9_000], batch[1] = short, long
    features, is_sound = encoder.encode(batch, torch.tensor([9_000, 30_000]))
    for row, sound in enumerate((short, long)):
        alone = encoder(sound.unsqueeze(0))[0]
        assert torch.allclose(features[row, : len(alone)], alone, atol=1e-5)
        assert not features[row, len(alone) :].any()
        assert is_sound[row].sum() == len(alone)
    for lengths in ([0, 5], [5, 30_001]):
        with pytest.raises(ValueError, match="`lengths` must lie in"):
            encoder.encode(batch, torch.tensor(lengths))


def test_a_trained_encoder_is_saved_and_loaded(encoder, tmp_path):
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.01)
    saved = AudioEncoder.from_pretrained(encoder.save_pretrained(tmp_path / "tuned"))
    sound = make_noise(8_000)
    assert torch.equal(saved.features(sound), encoder.features(sound))
    assert saved.record.weights != encoder.record.weights
    assert not saved.training


def test_the_weights_file_is_the_state_of_the_module(exported, encoder):
    from safetensors.torch import load_file

    file = load_file(exported.folder / "encoder.safetensors")
    state = encoder.state_dict()
    assert file.keys() == state.keys()
    assert all(torch.equal(file[name], state[name]) for name in file)


def test_names_of_the_hub_need_its_library_and_other_names_are_errors(monkeypatch):
    monkeypatch.setattr(hub.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install .ablate-jepa\[hub\]"):
        AudioEncoder.from_pretrained("owner/name")
    for name in ("nowhere", "a/b/c", "./owner/name"):
        with pytest.raises(ValueError, match="is not a folder, nor the name of a repository"):
            AudioEncoder.from_pretrained(name)


def test_the_settings_for_transformers_are_those_of_the_encoder(exported):
    config = read_json(exported.folder / "config.json")
    assert config["encoder"] == read_json(exported.folder / "encoder.json")
    modeling = (exported.folder / "modeling_ablate.py").read_text()
    for value in config["auto_map"].values():
        assert f"class {value.split('.')[1]}(" in modeling


def test_transformers_loads_the_folder(exported, encoder, tmp_path, monkeypatch):
    transformers = pytest.importorskip("transformers")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    model = transformers.AutoModel.from_pretrained(exported.folder, trust_remote_code=True)
    waveforms = make_noise(2, 12_000)
    output = model(waveforms)
    assert torch.allclose(output.last_hidden_state, encoder(waveforms), atol=1e-5)


def test_a_mask_gives_features_and_their_mask_as_for_xares_llm(exported, encoder):
    adapter = load_adapter(exported.folder)(device="cpu")
    audio, mask = torch.zeros(2, 20_000), torch.zeros(2, 20_000, dtype=torch.long)
    audio[0, :5_000], mask[0, :5_000] = make_noise(5_000), 1
    audio[1], mask[1] = make_noise(20_000), 1
    features, feature_mask = adapter(audio, mask)
    assert features.shape == (*feature_mask.shape, adapter.output_dim)
    alone = encoder(audio[:1, :5_000])
    assert feature_mask[0].sum() == alone.shape[1]
    assert torch.allclose(features[0, : alone.shape[1]], alone[0], atol=1e-5)


def test_batches_of_mteb_have_one_embedding_per_sound(exported, encoder):
    model = MtebEncoder(exported.folder)
    sounds = [make_noise(size).numpy() for size in (4_000, 9_000, 700)]
    items = [{"array": sound, "sampling_rate": 16_000} for sound in sounds]
    embeddings = model.encode([{"audio": items[:2]}, {"audio": items[2:]}], task_metadata=None)
    assert np.array_equal(embeddings, np.stack([encoder.features(sound) for sound in sounds]))
    pairs = model.similarity(embeddings, embeddings[::-1].copy())
    assert torch.allclose(pairs.diagonal(), model.similarity_pairwise(embeddings, embeddings[::-1]))


def test_the_card_has_metadata_for_the_hub_and_no_path(exported, tmp_path):
    details = CardDetails("mit", ("AudioSet",), "@article{a}")
    folder = export_encoder(exported.run, tmp_path / "out", details)
    card = (folder / "README.md").read_text()
    lines = card.split("---")[1].strip().splitlines()
    metadata = {key: json.loads(value) for key, value in (line.split(": ", 1) for line in lines)}
    assert metadata["license"] == "mit"
    assert metadata["datasets"] == ["AudioSet"]
    [result] = metadata["model-index"][0]["results"]
    assert result["metrics"][0]["value"] == 12.5
    assert f'pip install "ablate-jepa>={ablate.__version__}"' in card
    assert "```bibtex\n@article{a}" in card
    for file in folder.rglob("*"):
        assert str(tmp_path) not in file.read_bytes().decode(errors="replace")


@pytest.mark.parametrize("place", ["/home/me/m.csv", "~/m.csv", "data/of/me/m.csv", r"C:\me\m.csv"])
def test_no_path_is_left_in_the_card(exported, tmp_path, place):
    run = shutil.copytree(exported.run, tmp_path / exported.run.name)
    config = RunConfig.read(run / "config.json")
    config.settings["data"]["manifest"] = place
    config.write(run / "config.json")
    card = (export_encoder(run, tmp_path / "out") / "README.md").read_text()
    assert '"manifest": "m.csv"' in card


@pytest.fixture
def own_part(exported, tmp_path, monkeypatch):
    """A run with a patchifier of a package, which imports its own modules and a neighbour."""
    lab = tmp_path / "lab" / "my_lab_of_tests"
    lab.mkdir(parents=True)
    (lab / "__init__.py").write_text("")
    (lab / "sizes.py").write_text("from my_sizes_of_tests import SIDE")
    (lab.parent / "my_sizes_of_tests.py").write_text("SIDE = 16")
    (lab / "cuts.py").write_text(OWN_PART)
    monkeypatch.syspath_prepend(str(lab.parent))
    run = shutil.copytree(exported.run, tmp_path / exported.run.name)
    config = RunConfig.read(run / "config.json")
    config.settings["patchifier"] = {"type": "my_lab_of_tests.cuts.Squares", "side": 8}
    config.write(run / "config.json")
    trial = build(RunConfig.read(run / "config.json").settings, expect=Trial)
    encoder_files.save_encoder(run, trial.random_init.build_encoder(), exported.audio)
    return run


SCRIPT = """
import sys, torch, ablate
encoder = ablate.load_encoder(sys.argv[1], trust_source=sys.argv[2] == "yes")
print(encoder.features(torch.zeros(9000)).shape)
"""


def load_elsewhere(folder, trust):
    """Loads an export in a process that does not have the package of the part."""
    command = [sys.executable, "-c", SCRIPT, str(folder), trust]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_an_own_part_travels_with_its_source_and_runs_only_if_trusted(own_part, tmp_path):
    without = export_encoder(own_part, tmp_path / "without")
    assert read_json(without / "encoder.json")["modules"] == ["my_lab_of_tests"]
    assert "needs the module `my_lab_of_tests`" in (without / "README.md").read_text()
    missing = load_elsewhere(without, "yes")
    assert "parts of the module `my_lab_of_tests`, which is not installed" in missing.stderr
    with_source = export_encoder(own_part, tmp_path / "with", with_source=True)
    assert "pass `trust_source=True` to run it" in load_elsewhere(with_source, "no").stderr
    assert "torch.Size" in load_elsewhere(with_source, "yes").stdout


def test_the_command_accepts_the_details_of_the_card(exported, tmp_path, monkeypatch):
    monkeypatch.setenv("ABLATE_RUNS", str(exported.run.parent))
    command = ["export", exported.run.name, "--to", str(tmp_path / "out"), "--license", "mit"]
    result = CliRunner().invoke(app, [*command, "--dataset", "AudioSet", "--dataset", "FSD50K"])
    assert result.exit_code == 0, result.output
    card = (tmp_path / "out" / "README.md").read_text()
    assert 'license: "mit"' in card
    assert "It was trained on AudioSet, FSD50K." in card
    missing = CliRunner().invoke(app, [*command, "--citation", str(tmp_path / "none.bib")])
    assert missing.exit_code == 2
