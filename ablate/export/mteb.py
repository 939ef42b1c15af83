"""The interface of MTEB's audio tasks (MAEB) to an exported encoder.

https://github.com/embeddings-benchmark/mteb, 2.26: an encoder gets batches of sounds and returns
one embedding per sound. `mteb` itself is not needed here.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from ablate.export.encoder import load_encoder


class MtebEncoder:
    """Computes embeddings of the sounds in MTEB's batches.

    Example:
        >>> import mteb  # doctest: +SKIP
        >>> encoder = MtebEncoder("exported")  # doctest: +SKIP
        >>> tasks = mteb.get_tasks(tasks=["ESC50"])  # doctest: +SKIP
        >>> mteb.evaluate(encoder, tasks)  # doctest: +SKIP
    """

    mteb_model_meta = None

    def __init__(self, folder: str | Path, device: str = "cpu") -> None:
        self.encoder = load_encoder(folder).to(device)

    def encode(self, inputs: Iterable[Mapping[str, Any]], **_: Any) -> npt.NDArray[np.float32]:
        """Computes embeddings, (sounds, dim).

        Args:
            inputs: Batches; `audio` holds sounds with `array` and `sampling_rate`.
        """
        rows = [
            self.encoder.features(sound["array"], sample_rate=int(sound["sampling_rate"])).numpy()
            for batch in inputs
            for sound in batch["audio"]
        ]
        return np.stack(rows)

    def similarity(self, first: npt.ArrayLike, second: npt.ArrayLike) -> Tensor:
        """Computes the cosines of all pairs, (first, second)."""
        return _normalise(first) @ _normalise(second).T

    def similarity_pairwise(self, first: npt.ArrayLike, second: npt.ArrayLike) -> Tensor:
        """Computes the cosine of each pair, (pairs,)."""
        return (_normalise(first) * _normalise(second)).sum(dim=1)


def _normalise(rows: npt.ArrayLike) -> Tensor:
    return F.normalize(torch.from_numpy(np.ascontiguousarray(rows)), dim=1)
