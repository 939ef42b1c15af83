"""What can be wrong with a trial is found before anything is trained."""

import copy

import numpy as np
import pytest
import soundfile

from ablate.core.random import generator
from ablate.mask_analysis.statistics import BATCHES, COUPLED_BATCHES, realised_shares
from ablate.model.masking import Clips, Grid
from ablate.parts import PartError, resolve
from maskers import LegacyMultiBlock, MultiBlock
from tests.worker.plan_trials import plan_trials

PROBES = {"knn": {"type": "ablate.probing.knn.KNN", "k": 3}}


def planned(cache, *trials, probes=PROBES):
    return plan_trials(trials, probes, cache)


def vit(**changes):
    small = {"type": "ablate.model.vit.ViT", "dim": 16, "layers": 1, "heads": 2}
    return {"encoder": {**small, **changes}}


def changed(settings, **changes):
    return {**copy.deepcopy(settings), **changes}


def test_a_sound_trial_is_resolved_and_named(settings, cache):
    [entry] = planned(cache, settings).get_resolved()
    assert entry.facts.grid == (2, 4)
    assert entry.settings["masker"]["target_area"] == [0.15, 0.2]
    assert entry.settings["optimizer"]["clip"] == 3.0
    assert 0 < entry.facts.context < 1
    assert entry.facts.parameters.encoder == 16 * 256 + 16 + 3280 + 32


@pytest.mark.parametrize("grid", [(4, 8), (8, 16)], ids=str)
def test_the_overlap_of_a_plan_is_that_of_every_mask_it_draws(grid):
    masker, where = LegacyMultiBlock(), Grid(*grid)
    moments = [batch / (COUPLED_BATCHES - 1) for batch in range(COUPLED_BATCHES)]
    masks = [masker.draw(Clips.unpadded(where, 10), generator(0, "plan", str(m))) for m in moments]
    pairs = [
        (bool(mask.fallback[sample]), bool(mask.targets[sample, :, patch].any()))
        for mask in masks
        for sample, patch in mask.context.nonzero().tolist()
    ]
    found = realised_shares(masker, where)
    assert found.overlap == pytest.approx(sum(asked for _, asked in pairs) / len(pairs), abs=1e-4)
    forced = sum(asked for changed, asked in pairs if changed) / len(pairs)
    assert found.forced_overlap == pytest.approx(forced, abs=1e-4)
    assert (found.overlap > 0.3) == (grid == (4, 8))


@pytest.mark.parametrize("batching", ["truncate_first", "truncate_random"])
@pytest.mark.parametrize("masker", [LegacyMultiBlock(min_keep=1), MultiBlock()], ids=["old", "new"])
def test_a_plan_tells_how_much_is_seen_once_a_batch_is_cut(settings, cache, masker, batching):
    batches = COUPLED_BATCHES if masker.promises.coupled else BATCHES
    least = 0.0
    for batch in range(batches):
        rng = generator(0, "plan", str(batch / (batches - 1)))
        mask = masker.draw(Clips.unpadded(Grid(4, 8), settings["budget"]["batch"]), rng)
        least += min(sample.float().mean().item() for sample in mask.context) / batches
    fine = {"patchifier": {**settings["patchifier"], "freq": 8, "time": 8}}
    asked = settings | fine | {"masker": resolve(masker)}
    whole, cut = planned(cache, asked, asked | {"batching": batching}).get_resolved()
    assert cut.facts.context == pytest.approx(least, abs=1e-4)
    assert cut.facts.context < whole.facts.context


def test_defaults_written_out_do_not_change_the_fingerprint(settings, cache):
    [short] = planned(cache, settings).get_resolved()
    [long] = planned(cache, short.settings).get_resolved()
    assert short.fingerprint == long.fingerprint


@pytest.mark.parametrize(
    "change",
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
def test_whatever_decides_a_result_changes_the_fingerprint(settings, cache, change):
    first, second = planned(cache, settings, changed(settings, **change)).get_resolved()
    assert first.fingerprint != second.fingerprint


def test_maskers_of_one_seed_share_their_random_init_and_patchifiers_do_not(settings, cache):
    random = changed(settings, masker={"type": "maskers.Random"})
    strips = changed(
        settings, patchifier={"type": "ablate.model.patchify.Rectangles", "freq": 32, "time": 4}
    )
    one, other, third = planned(cache, settings, random, strips).get_resolved()
    assert one.random_init.fingerprint == other.random_init.fingerprint
    assert one.random_init.fingerprint != third.random_init.fingerprint
    assert one.statistics.fingerprint == third.statistics.fingerprint


@pytest.mark.parametrize(
    ("change", "path", "message"),
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
            vit(positions={"type": "ablate.model.positions.Learned", "time": 3}),
            ["encoder"],
            "positions with `time` 3 are too few for a grid of 4",
        ),
        (
            vit(positions={"type": "ablate.model.positions.Rotary1D"}),
            ["encoder"],
            "on a grid of 2x4 patches",
        ),
        (
            vit(stem={"type": "ablate.model.stems.Waveform"}),
            ["encoder", "stem"],
            "the stem reads a waveform, but `mel` gives 32 mel bands",
        ),
        (
            {
                **vit(stem={"type": "ablate.model.stems.Waveform"}),
                "mel": {"type": "ablate.audio.waveform.Waveform"},
                "crop_frames": 16000,
                "patchifier": {"type": "ablate.model.patchify.Windows", "time_stride": 160},
            },
            ["patchifier"],
            "cuts 400 every 160; set its `time: 400, time_stride: 320`",
        ),
        (
            vit(stem={"type": "ablate.model.stems.Speech1D", "freq": 8, "time": 32}),
            ["encoder", "stem"],
            "cuts 16 bands by 16 frames",
        ),
        ({"encoder": {"type": "ablate.model.vit.ViT", "dim": 15}}, ["encoder"], "`dim` 15"),
        ({"budget": {"steps": 0, "batch": 4}}, ["budget"], "`steps` must be at least 1; got 0"),
    ],
)
def test_an_impossible_trial_is_refused_at_its_setting(settings, cache, change, path, message):
    [entry] = planned(cache, changed(settings, **change)).trials
    [problem] = entry.problems
    assert list(problem.path) == path
    assert message in problem.message
    assert entry.trial is None


def test_every_trials_problems_are_reported_at_once(settings, cache):
    bad_masker = changed(settings, masker={"type": "maskers.Random", "ratio": 2.0})
    bad_patch = changed(
        settings, patchifier={"type": "ablate.model.patchify.Rectangles", "freq": 5}
    )
    entries = planned(cache, bad_masker, settings, bad_patch).trials
    assert [len(entry.problems) for entry in entries] == [1, 0, 1]


def test_a_probe_that_cannot_be_built_is_refused(settings, cache):
    with pytest.raises(PartError, match=r"probes.knn.*`k` must be at least 1"):
        planned(cache, settings, probes={"knn": {"type": "ablate.probing.knn.KNN", "k": 0}})


def folder_of_sounds(tmp_path, rows):
    """Writes tones, and a manifest of (path, label, split)."""
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


def test_a_folder_of_sounds_is_planned_and_its_place_is_not_part_of_the_name(
    settings, cache, tmp_path
):
    names = set()
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        data = folder_of_sounds(tmp_path / place, ROWS)
        [entry] = planned(cache, changed(settings, data={**data, "task": "tones"})).get_resolved()
        names.add(entry.fingerprint)
    assert len(names) == 1


@pytest.mark.parametrize(
    ("spoil", "message"),
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
def test_bad_audio_is_named_before_training(settings, cache, tmp_path, spoil, message):
    data = folder_of_sounds(tmp_path, ROWS)
    spoil(tmp_path)
    [entry] = planned(cache, changed(settings, data=data)).trials
    [problem] = entry.problems
    assert problem.path == ("data",)
    assert message in problem.message


def test_a_corrupt_file_is_skipped_and_counted_when_asked(settings, cache, tmp_path):
    data = folder_of_sounds(tmp_path, ROWS)
    (tmp_path / "3.wav").write_bytes(b"RIFF no sound")
    result = planned(cache, changed(settings, data={**data, "on_bad_audio": "skip"}))
    [(path, reason)] = result.data[0].skipped
    assert path == "3.wav"
    assert reason
    assert result.data[0].clips == 15


def test_silent_clips_are_listed(settings, cache, tmp_path):
    data = folder_of_sounds(tmp_path, ROWS)
    soundfile.write(tmp_path / "3.wav", np.zeros(16000), 16000)
    result = planned(cache, changed(settings, data=data))
    assert result.data[0].silent == ("3.wav",)
    assert result.data[0].skipped == ()


def test_what_is_wrong_anywhere_is_told_before_a_clip_is_decoded(settings, tmp_path):
    wrong = changed(settings, masker={"type": "maskers.Rndom"})
    fine, refused = planned(tmp_path, settings, wrong).trials
    assert fine.problems == ()
    assert fine.trial is None
    assert "Rndom" in refused.problems[0].message
    assert not any(tmp_path.iterdir())


def test_a_wrong_probe_has_nothing_decoded(settings, tmp_path):
    [entry] = plan_trials([settings], {}, tmp_path, open_audio=False).trials
    assert entry.problems == ()
    assert not any(tmp_path.iterdir())


def test_missing_files_are_told_beside_what_else_is_wrong(settings, cache, tmp_path):
    rows = [f"{label}{split}.wav,{label},{split}" for label in "xy" for split in ("train", "test")]
    (tmp_path / "list.csv").write_text("\n".join(["path,label,split", *rows]))
    data = {"type": "ablate.audio.sources.Folder", "manifest": str(tmp_path / "list.csv")}
    absent = changed(settings, data=data)
    wrong = changed(settings, masker={"type": "maskers.Rndom"})
    first, _ = planned(cache, absent, wrong).trials
    [problem] = first.problems
    assert problem.path == ("data",)
    assert "no such file" in problem.message
