"""Problems of a trial are found before anything is trained, and valid trials are resolved."""

import copy

import numpy as np
import pytest
import soundfile

from ablate.core.random import generator
from ablate.mask_analysis.realised_shares import BATCHES, COUPLED_BATCHES, compute_realised_shares
from ablate.model.masking import Clips, Grid
from ablate.parts import PartError, resolve
from maskers import LegacyMultiBlock, MultiBlock
from tests.worker.runs import plan_trials

PROBES = {"knn": {"type": "ablate.probing.knn.KNN", "k": 3}}


def plan(cache, *trials, probes=PROBES):
    return plan_trials(trials, probes, cache)


def make_vit(**changes):
    """Returns the setting `encoder` of a small ViT with changes."""
    small = {"type": "ablate.model.vit.ViT", "dim": 16, "layers": 1, "heads": 2}
    return {"encoder": {**small, **changes}}


def change(settings, **changes):
    return {**copy.deepcopy(settings), **changes}


def test_a_valid_trial_is_resolved_with_its_facts(settings, cache):
    [entry] = plan(cache, settings).get_resolved()
    assert entry.facts.grid == (2, 4)
    assert entry.settings["masker"]["target_area"] == [0.15, 0.2]
    assert entry.settings["optimizer"]["clip"] == 3.0
    assert 0 < entry.facts.context < 1
    assert entry.facts.parameters.encoder == 16 * 256 + 16 + 3280 + 32


def test_trials_of_several_untrained_encoders_have_further_ones_from_other_seeds(settings, cache):
    wide = {**settings["patchifier"], "time": 32}
    trials = [
        {**change(settings, **changed), "seed": seed}
        for changed in ({}, {"patchifier": wide})
        for seed in (0, 1)
    ]
    plain, planned = (
        plan_trials(trials, PROBES, cache, random_inits=count).get_resolved() for count in (1, 3)
    )
    inits = [further for entry in planned for further in entry.further_inits]
    assert len({further.fingerprint for further in inits}) == 2 * len(trials)
    assert len({further.seed for further in inits}) == 2 * 2  # shared by the patchifiers
    assert not any(entry.further_inits for entry in plain)
    for one, other in zip(plain, planned, strict=True):
        assert (one.fingerprint, one.random_init) == (other.fingerprint, other.random_init)
    first = planned[0]
    alone = plan_trials([{**trials[0], "seed": first.further_inits[0].seed}], PROBES, cache)
    [same] = alone.get_resolved()
    assert same.random_init.fingerprint == first.further_inits[0].fingerprint


def test_equal_untrained_encoders_have_no_further_ones(settings, cache):
    other = change(settings, masker={"type": "maskers.Random"})
    entries = plan_trials([settings, other], PROBES, cache, random_inits=3).get_resolved()
    assert not any(entry.further_inits for entry in entries)


@pytest.mark.parametrize("shape", [(4, 8), (8, 16)], ids=str)
def test_the_planned_overlap_agrees_with_a_count_over_masks(shape):
    masker, grid = LegacyMultiBlock(), Grid(*shape)
    moments = [batch / (COUPLED_BATCHES - 1) for batch in range(COUPLED_BATCHES)]
    masks = [masker.draw(Clips.unpadded(grid, 10), generator(0, "plan", str(m))) for m in moments]
    pairs = [
        (bool(mask.fallback[sample]), bool(mask.targets[sample, :, patch].any()))
        for mask in masks
        for sample, patch in mask.context.nonzero().tolist()
    ]
    shares = compute_realised_shares(masker, grid)
    overlap = sum(is_target for _, is_target in pairs) / len(pairs)
    assert shares.overlap == pytest.approx(overlap, abs=1e-4)
    forced = sum(is_target for is_fallback, is_target in pairs if is_fallback) / len(pairs)
    assert shares.forced_overlap == pytest.approx(forced, abs=1e-4)
    assert (shares.overlap > 0.3) == (shape == (4, 8))


@pytest.mark.parametrize("batching", ["truncate_first", "truncate_random"])
@pytest.mark.parametrize("masker", [LegacyMultiBlock(min_keep=1), MultiBlock()], ids=["old", "new"])
def test_the_planned_context_is_that_after_truncation(settings, cache, masker, batching):
    batches = COUPLED_BATCHES if masker.promises.coupled else BATCHES
    smallest = 0.0
    for batch in range(batches):
        rng = generator(0, "plan", str(batch / (batches - 1)))
        mask = masker.draw(Clips.unpadded(Grid(4, 8), settings["budget"]["batch"]), rng)
        smallest += min(sample.float().mean().item() for sample in mask.context) / batches
    fine = {"patchifier": {**settings["patchifier"], "freq": 8, "time": 8}}
    packed = settings | fine | {"masker": resolve(masker)}
    replies = plan(cache, packed, packed | {"batching": batching})
    contexts = [trial.facts.context for trial in replies.get_resolved()]
    assert contexts[1] == pytest.approx(smallest, abs=1e-4)
    assert contexts[1] < contexts[0]


def test_explicit_defaults_do_not_change_the_fingerprint(settings, cache):
    [short] = plan(cache, settings).get_resolved()
    [long] = plan(cache, short.settings).get_resolved()
    assert short.fingerprint == long.fingerprint


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"budget": {"steps": 61, "batch": 4}},
        {"masker": {"type": "maskers.MultiBlock", "num_targets": 3}},
        {"optimizer": {"rate": 2e-3}},
        {"crop_frames": 32},
        {"mel": {"type": "ablate.audio.mel.LogMel", "bands": 32, "f_min": 60}},
    ],
    ids=str,
)
def test_every_setting_that_affects_results_changes_the_fingerprint(settings, cache, changes):
    first, second = plan(cache, settings, change(settings, **changes)).get_resolved()
    assert first.fingerprint != second.fingerprint


def test_maskers_share_a_random_init_and_patchifiers_do_not(settings, cache):
    random = change(settings, masker={"type": "maskers.Random"})
    strips = change(
        settings, patchifier={"type": "ablate.model.patchify.Rectangles", "freq": 32, "time": 4}
    )
    one, other, third = plan(cache, settings, random, strips).get_resolved()
    assert one.random_init.fingerprint == other.random_init.fingerprint
    assert one.random_init.fingerprint != third.random_init.fingerprint
    assert one.statistics.fingerprint == third.statistics.fingerprint


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        ({"maskr": 1}, ["maskr"], "did you mean `masker`?"),
        (
            {"patchifier": {"type": "ablate.model.patchify.Rectangles", "freq": 24}},
            ["patchifier"],
            "do not divide 32 mel bands",
        ),
        (
            {"masker": {"type": "maskers.MultiBlock", "num_targets": 9}},
            ["masker"],
            "could hide the whole clip",
        ),
        (
            {"patchifier": {"type": "ablate.model.patchify.Rectangles", "freq": 32, "time": 64}},
            ["patchifier"],
            "one patch covers all 64 frames",
        ),
        (
            {"mel": {"type": "ablate.audio.waveform.Waveform"}, "crop_frames": 16000},
            ["patchifier"],
            "cut it with `type: ablate.model.patchify.Windows`",
        ),
        (
            {"patchifier": {"type": "ablate.model.patchify.Windows"}},
            ["patchifier"],
            "`mel` gives 32 bands, not 1",
        ),
        (
            {"patchifier": {"type": "ablate.model.patchify.Rectangles", "seconds": 0.165}},
            ["patchifier", "seconds"],
            "not a multiple of the 10 ms hop",
        ),
        (
            make_vit(positions={"type": "ablate.model.positions.Learned", "time": 3}),
            ["encoder"],
            "positions with `time` 3 are too few for a grid of 4",
        ),
        (
            make_vit(positions={"type": "ablate.model.positions.Rotary1D"}),
            ["encoder"],
            "on a grid of 2x4 patches",
        ),
        (
            make_vit(stem={"type": "ablate.model.stems.Waveform"}),
            ["encoder", "stem"],
            "the stem reads a waveform, but `mel` gives 32 mel bands",
        ),
        (
            {
                **make_vit(stem={"type": "ablate.model.stems.Waveform"}),
                "mel": {"type": "ablate.audio.waveform.Waveform"},
                "crop_frames": 16000,
                "patchifier": {"type": "ablate.model.patchify.Windows", "time_stride": 160},
            },
            ["patchifier"],
            "cuts 400 every 160; set its `time: 400, time_stride: 320`",
        ),
        (
            make_vit(stem={"type": "ablate.model.stems.Speech1D", "freq": 8, "time": 32}),
            ["encoder", "stem"],
            "cuts 16 bands by 16 frames",
        ),
        ({"encoder": {"type": "ablate.model.vit.ViT", "dim": 15}}, ["encoder"], "`dim` 15"),
        ({"budget": {"steps": 0, "batch": 4}}, ["budget"], "`steps` must be at least 1; got 0"),
    ],
)
def test_an_invalid_setting_is_reported_at_its_path(settings, cache, changes, path, message):
    [entry] = plan(cache, change(settings, **changes)).trials
    [problem] = entry.problems
    assert list(problem.path) == path
    assert message in problem.message
    assert entry.trial is None


def test_the_problems_of_all_trials_are_reported_at_once(settings, cache):
    bad_masker = change(settings, masker={"type": "maskers.Random", "ratio": 2.0})
    bad_patch = change(settings, patchifier={"type": "ablate.model.patchify.Rectangles", "freq": 5})
    entries = plan(cache, bad_masker, settings, bad_patch).trials
    assert [len(entry.problems) for entry in entries] == [1, 0, 1]


def test_an_invalid_probe_is_reported_at_its_path(settings, cache):
    with pytest.raises(PartError, match=r"probes.knn.*`k` must be at least 1"):
        plan(cache, settings, probes={"knn": {"type": "ablate.probing.knn.KNN", "k": 0}})


def write_tones(tmp_path, rows):
    """Writes tones and a manifest of (path, label, split); returns the settings of the source."""
    for index, (path, _, _) in enumerate(rows):
        times = np.arange(8000) / 16000
        soundfile.write(
            tmp_path / path, 0.3 * np.sin(2 * np.pi * (300 + 40 * index) * times), 16000
        )
    manifest = tmp_path / "metadata.csv"
    lines = ["path,label,split", *(",".join(row) for row in rows)]
    manifest.write_text("\n".join(lines) + "\n")
    return {"type": "ablate.audio.sources.Folder", "manifest": str(manifest)}


ROWS = [(f"{i}.wav", "ab"[i % 2], ("train", "train", "test", "test")[i % 4]) for i in range(16)]


def test_the_location_of_audio_is_not_in_the_fingerprint(settings, cache, tmp_path):
    fingerprints = set()
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        data = write_tones(tmp_path / name, ROWS)
        [entry] = plan(cache, change(settings, data={**data, "task": "tones"})).get_resolved()
        fingerprints.add(entry.fingerprint)
    assert len(fingerprints) == 1


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "3.wav").unlink(), "3.wav"),
        (lambda folder: (folder / "3.wav").write_bytes(b"RIFF no sound"), "3.wav"),
        (lambda folder: (folder / "metadata.csv").write_text("path,label,split\n"), "no clip"),
        (
            lambda folder: (folder / "metadata.csv").write_text(
                "path,label,split\n0.wav,a,train\n2.wav,a,test\n1.wav,b,train\n"
            ),
            "`b`",
        ),
    ],
    ids=["missing file", "corrupt file", "empty manifest", "class with one clip"],
)
def test_unusable_audio_is_named_before_training(settings, cache, tmp_path, damage, message):
    data = write_tones(tmp_path, ROWS)
    damage(tmp_path)
    [entry] = plan(cache, change(settings, data=data)).trials
    [problem] = entry.problems
    assert problem.path == ("data",)
    assert message in problem.message


def test_on_bad_audio_skip_leaves_out_a_corrupt_file_and_lists_it(settings, cache, tmp_path):
    data = write_tones(tmp_path, ROWS)
    (tmp_path / "3.wav").write_bytes(b"RIFF no sound")
    result = plan(cache, change(settings, data={**data, "on_bad_audio": "skip"}))
    [(path, reason)] = result.data[0].skipped
    assert path == "3.wav"
    assert reason
    assert result.data[0].clips == 15


def test_silent_clips_are_listed(settings, cache, tmp_path):
    data = write_tones(tmp_path, ROWS)
    soundfile.write(tmp_path / "3.wav", np.zeros(16000), 16000)
    result = plan(cache, change(settings, data=data))
    assert result.data[0].silent == ("3.wav",)
    assert result.data[0].skipped == ()


def test_an_invalid_trial_is_reported_before_any_clip_is_decoded(settings, tmp_path):
    wrong = change(settings, masker={"type": "maskers.Rndom"})
    fine, invalid = plan(tmp_path, settings, wrong).trials
    assert fine.problems == ()
    assert fine.trial is None
    assert "Rndom" in invalid.problems[0].message
    assert not any(tmp_path.iterdir())


def test_no_clip_is_decoded_without_open_audio(settings, tmp_path):
    [entry] = plan_trials([settings], {}, tmp_path, open_audio=False).trials
    assert entry.problems == ()
    assert not any(tmp_path.iterdir())


def test_missing_files_are_reported_with_the_problems_of_other_trials(settings, cache, tmp_path):
    rows = [f"{label}{split}.wav,{label},{split}" for label in "xy" for split in ("train", "test")]
    (tmp_path / "list.csv").write_text("\n".join(["path,label,split", *rows]))
    data = {"type": "ablate.audio.sources.Folder", "manifest": str(tmp_path / "list.csv")}
    absent = change(settings, data=data)
    wrong = change(settings, masker={"type": "maskers.Rndom"})
    first, _ = plan(cache, absent, wrong).trials
    [problem] = first.problems
    assert problem.path == ("data",)
    assert "no such file" in problem.message
