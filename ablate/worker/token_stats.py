"""What a patch amounts to in time, and how much of it its neighbour hears too."""

from typing import Any

from ablate.audio.mel import AbstractFrontEnd
from ablate.model.patchify import AbstractPatchifier


def token_facts(
    mel: AbstractFrontEnd, patchifier: AbstractPatchifier, crop_frames: int
) -> dict[str, Any]:
    """Returns the facts of a plan about tokens, as plain data.

    `leak_seconds` of sound go into a patch and into the next one: the frames that both hold, and
    what the analysis windows at their edge share. `window_leak` is the share of a patch's last
    window that lies in the next patch; `freq_overlap` and `time_overlap` are the shares of a
    patch's bands and frames that are the next one's too. `dropped` bands and frames at the end are
    in no patch. `told` says it in words. Raises `ValueError` where the patchifier has no grid.
    """
    hop, window, frames = mel.hop_seconds, mel.window_seconds, crop_frames
    (freq, time), (freq_stride, time_stride) = patchifier.size, patchifier.stride
    grid = patchifier.grid(mel.bands, frames)
    covered = patchifier.covered(mel.bands, frames)
    step = time_stride * hop
    leak = (time - time_stride) * min(hop, window) + max(0.0, window - hop)
    leak *= grid.time > 1
    overlaps = [(freq - freq_stride) / freq, (time - time_stride) / time]
    shown = {
        "seconds_per_token": step,
        "tokens_per_second": grid.freq / step,
        "leak_seconds": leak,
        "window_leak": min(1.0, leak / window),
        "freq_overlap": overlaps[0] if grid.freq > 1 else 0.0,
        "time_overlap": overlaps[1] if grid.time > 1 else 0.0,
    }
    facts = {
        **{name: float(f"{value:.6g}") for name, value in shown.items()},
        "dropped": [mel.bands - covered[0], frames - covered[1]],
    }
    return {**facts, "told": _told(facts)}


def _told(facts: dict[str, Any]) -> list[str]:
    step, rate = 1000 * facts["seconds_per_token"], facts["tokens_per_second"]
    lines = [f"a column of tokens every {step:.4g} ms, {rate:.4g} tokens per second"]
    if leak := 1000 * facts["leak_seconds"]:
        of = "sound" if facts["time_overlap"] else "STFT window"
        lines[0] += f"; adjacent patches overlap by {leak:.3g} ms of {of}"
    held = [
        f"{facts[f'{axis}_overlap']:.0%} of its {unit}"
        for axis, unit in (("freq", "bands"), ("time", "frames"))
        if facts[f"{axis}_overlap"]
    ]
    if held:
        lines.append(
            f"warning: a patch shares {' and '.join(held)} with its neighbour, so visible patches "
            "give away hidden ones; `maskers.DeadZone` keeps them apart"
        )
    dropped = zip(facts["dropped"], ("bands", "frames"), strict=True)
    if lost := [f"{count} {unit}" for count, unit in dropped if count]:
        lines.append(f"the last {' and '.join(lost)} belong to no patch")
    return lines
