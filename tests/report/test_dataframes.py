"""The data frames agree with the report and are created on first use."""

import subprocess
import sys
from pathlib import Path

import pytest

import ablate
from ablate.report.dataframes import results
from tests.report.conftest import StudyBuilder


def test_the_data_frames_agree_with_the_report(
    reported: StudyBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = reported.report
    monkeypatch.delenv("ABLATE_RUNS", raising=False)
    frames = results(folder)
    assert len(frames.trials) == 18
    assert frames.scores.to_csv(index=False) == (folder / "scores.csv").read_text()
    assert frames.variants.to_csv(index=False) == (folder / "tables/variants.csv").read_text()
    assert set(frames.contrasts["family"]) == {"pooled", "within", "learning", "untrained"}
    curves = frames.curves
    last = curves[curves["step"] == 1500]
    assert last["audio_hours"].tolist() == pytest.approx([8.53] * len(last))
    assert set(curves["seed"]) == {0, 1, 2}


def test_a_folder_without_a_plan_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"contains no plan\.json; give the folder"):
        results(tmp_path)


def test_importing_the_package_does_not_load_pandas() -> None:
    assert ablate.results is results
    code = "import ablate, sys; sys.exit('pandas' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    with pytest.raises(AttributeError, match="module `ablate` has no attribute `result`"):
        _ = ablate.result
