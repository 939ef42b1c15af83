"""Computes what a token covers in time, and how much of it the next token covers too."""

from ablate.audio.front_end import AbstractFrontEnd
from ablate.core.records.plan import TokenStats
from ablate.model.patchify import AbstractPatchifier


def compute_token_stats(
    mel: AbstractFrontEnd, patchifier: AbstractPatchifier, crop_frames: int
) -> TokenStats:
    """Computes the token statistics of a window of `crop_frames` frames.

    Adjacent patches share the frames that both contain, and the audio that the analysis windows at
    their common edge share; `leak_seconds` is the sum.

    Raises:
        ValueError: the patchifier does not fit the window.
    """
    hop, window, frames = mel.hop_seconds, mel.window_seconds, crop_frames
    (freq, time), (freq_stride, time_stride) = patchifier.size, patchifier.stride
    grid = patchifier.grid(mel.bands, frames)
    covered = patchifier.covered(mel.bands, frames)
    step = time_stride * hop
    own = type(patchifier)
    if own.grid is not AbstractPatchifier.grid and own.cut is not AbstractPatchifier.cut:
        # columns may be unequal; their mean distance
        step = covered[1] * hop / grid.time
    leak = (time - time_stride) * min(hop, window) + max(0.0, window - hop)
    leak *= grid.time > 1
    freq_overlap, time_overlap = (freq - freq_stride) / freq, (time - time_stride) / time
    stats = {
        "seconds_per_token": step,
        "tokens_per_second": grid.freq / step,
        "leak_seconds": leak,
        "window_leak": min(1.0, leak / window),
        "freq_overlap": freq_overlap if grid.freq > 1 else 0.0,
        "time_overlap": time_overlap if grid.time > 1 else 0.0,
    }
    rounded = {name: float(f"{value:.6g}") for name, value in stats.items()}
    dropped = (mel.bands - covered[0], frames - covered[1])
    return TokenStats(**rounded, dropped=dropped, messages=_format(rounded, dropped))


def _format(stats: dict[str, float], dropped: tuple[int, int]) -> tuple[str, ...]:
    step, rate = 1000 * stats["seconds_per_token"], stats["tokens_per_second"]
    lines = [f"a column of tokens every {step:.4g} ms, {rate:.4g} tokens per second"]
    if leak := 1000 * stats["leak_seconds"]:
        shared = "sound" if stats["time_overlap"] else "STFT window"
        lines[0] += f"; adjacent patches overlap by {leak:.3g} ms of {shared}"
    overlaps = [
        f"{stats[f'{axis}_overlap']:.0%} of its {unit}"
        for axis, unit in (("freq", "bands"), ("time", "frames"))
        if stats[f"{axis}_overlap"]
    ]
    if overlaps:
        lines.append(
            f"warning: a patch shares {' and '.join(overlaps)} with its neighbour, so visible "
            "patches reveal parts of hidden ones; `maskers.DeadZone` keeps them apart"
        )
    pairs = zip(dropped, ("bands", "frames"), strict=True)
    if lost := [f"{count} {unit}" for count, unit in pairs if count]:
        lines.append(f"the last {' and '.join(lost)} belong to no patch")
    return tuple(lines)
