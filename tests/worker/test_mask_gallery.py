"""The mask gallery."""

import numpy as np
import soundfile

from ablate.core.records.messages import GalleryRequest, GalleryTrial
from ablate.worker.mask_gallery import draw_gallery


def test_a_picture_uses_a_training_clip_even_if_a_test_clip_is_longer(settings, cache, tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.1, 16_000)
    soundfile.write(tmp_path / "seen.wav", noise[:8_000], 16_000)
    soundfile.write(tmp_path / "held_out.wav", noise, 16_000)
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("path,label,split\nheld_out.wav,a,test\nseen.wav,a,train\n")
    settings["data"] = {"type": "ablate.audio.sources.Folder", "manifest": str(manifest)}
    settings["crop_frames"] = 128  # more than either has
    trial = GalleryTrial(masker="blocks", patchifier="squares", settings=settings)
    request = GalleryRequest(folder=tmp_path, trials=(trial,))
    assert draw_gallery(request, cache).title == "seen.wav (a)"


def test_the_gallery_draws_contexts_after_batching(settings, cache, tmp_path):
    settings["masker"] = {"type": "maskers.LegacyMultiBlock"}
    settings["patchifier"] = {"type": "ablate.model.patchify.Rectangles", "freq": 4, "time": 8}
    trials = [
        GalleryTrial(masker=name, patchifier="squares", settings={**settings, "batching": name})
        for name in ("pack", "truncate_first")
    ]
    request = GalleryRequest(folder=tmp_path, trials=tuple(trials))
    packed, cut = draw_gallery(request, cache).pictures
    assert cut.context < 0.95 * packed.context
    files = [(tmp_path / picture.file).read_bytes() for picture in (packed, cut)]
    assert files[0] != files[1]
