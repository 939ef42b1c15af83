"""Tests that maskers, patchifiers, encoders, probes and sources keep their promises.

Call `check_masker(MyMasker())`, `check_patchifier`, `check_encoder`, `check_probe` or
`check_source` in a test of your own. The strategies `grids` and `cases` are for further tests.
"""

from ablate.testing.cases import NAMED_GRIDS, Case, cases, grids
from ablate.testing.encoder import check_encoder
from ablate.testing.masker import check_masker
from ablate.testing.patchifier import check_patchifier
from ablate.testing.probe import check_probe
from ablate.testing.source import check_source

__all__ = [
    "NAMED_GRIDS",
    "Case",
    "cases",
    "check_encoder",
    "check_masker",
    "check_patchifier",
    "check_probe",
    "check_source",
    "grids",
]
