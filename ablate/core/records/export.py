"""The record of an exported encoder, `encoder.json`, and the details of its model card."""

from dataclasses import dataclass
from typing import Any, ClassVar

from ablate.core.records.record import Record

EXPORT_FILE = "encoder.json"  # beside the weights in the folder of an exported encoder


@dataclass(frozen=True, kw_only=True)
class ExportedEncoder(Record):
    """The settings from which an exported encoder is rebuilt."""

    FORMAT: ClassVar[int] = 3
    REMEDY: ClassVar[str] = "export the run again with `ablate export`"

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
class CardDetails:
    """What a model card says beside settings and scores."""

    license: str = "unknown"  # an identifier of the Hugging Face Hub, such as `mit`
    datasets: tuple[str, ...] = ()  # names of the data sets that the encoder was trained on
    citation: str = ""  # BibTeX
