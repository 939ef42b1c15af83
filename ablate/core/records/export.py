"""The record of an exported encoder, `encoder.json`, and the details of its model card."""

import re
from dataclasses import dataclass
from typing import Any, ClassVar

from ablate.core.records.record import Record

EXPORT_FILE = "encoder.json"  # beside the weights in the folder of an exported encoder


@dataclass(frozen=True, kw_only=True)
class ExportedEncoder(Record):
    """The settings from which an exported encoder is rebuilt."""

    FORMAT: ClassVar[int] = 3
    REMEDY: ClassVar[str] = "export the run again with `ablate export`"
    HAS_CHECKSUM: ClassVar[bool] = True
    MAY_LACK_CHECKSUM: ClassVar[bool] = True

    run: str  # name of the run
    weights: str  # SHA-256 of the weights file
    mel: dict[str, Any]  # settings of the front end
    patchifier: dict[str, Any]  # settings
    encoder: dict[str, Any]  # settings
    crop_frames: int
    version: str  # version of ablate
    modules: tuple[str, ...] = ()  # top-level modules of parts that are not of ablate
    source: tuple[str, ...] = ()  # Python files of these modules in the folder


@dataclass(frozen=True)
class Benchmark:
    """A leaderboard of the Hugging Face Hub on which the scores of a task are listed."""

    task: str  # name of the task in the run
    dataset: str  # the data set on the Hub, as in `owner/name`
    task_id: str  # an id in the `eval.yaml` of the data set

    @classmethod
    def parse(cls, text: str) -> "Benchmark":
        """Parses `TASK=OWNER/DATASET:TASK_ID`. Raises `ValueError` for anything else."""
        match = re.fullmatch(r"([^=]+)=([\w.-]+/[\w.-]+):([\w.-]+)", text)
        if match is None:
            raise ValueError(
                f"a benchmark must be TASK=OWNER/DATASET:TASK_ID; got `{text}`; the last is an id "
                "in the `eval.yaml` of the data set"
            )
        return cls(match[1], match[2], match[3])


@dataclass(frozen=True)
class CardDetails:
    """What a model card says beside settings and scores."""

    license: str = "unknown"  # an identifier of the Hugging Face Hub, such as `mit`
    datasets: tuple[str, ...] = ()  # names of the data sets that the encoder was trained on
    citation: str = ""  # BibTeX
    benchmarks: tuple[Benchmark, ...] = ()  # leaderboards for the scores of the run
