"""Compares two masks on a folder of sounds, one subfolder per label.

    python examples/compare_masks.py my_sounds

Writes a manifest, a study and its report: reports/my_sounds/index.html.
"""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ablate

STUDY = """\
# Do blocks beat random patches on my sounds?
study: my_sounds
baseline:
  extends: recipes/scale/tiny.yaml
  data: {{type: ablate.audio.sources.Folder, manifest: "{manifest}"}}
  masker: {{type: maskers.Random, ratio: 0.6}}
factors:
  masker:
    random: {{type: maskers.Random, ratio: 0.6}}
    block: {{type: maskers.BlockWise, ratio: 0.6}}
seeds: 5
"""


def compare_masks(sounds: Path, overrides: Mapping[str, Any] | None = None) -> None:
    """Runs the study, and prints each difference with its verdict.

    Args:
        sounds: Folder with one subfolder per label.
        overrides: Settings to replace, such as `{"seeds": 3}`.
    """
    manifest = sounds / "manifest.csv"
    if not manifest.exists():
        command = [sys.executable, "-m", "ablate", "manifest", sounds, "--layout", "subfolder"]
        subprocess.run(command, check=True)
    study = Path("my_sounds.yaml")
    study.write_text(STUDY.format(manifest=manifest.as_posix()), encoding="utf-8")
    results = ablate.run(study, overrides)
    print(results.contrasts[["level", "against", "difference", "verdict"]].to_string(index=False))


if __name__ == "__main__":
    compare_masks(Path(sys.argv[1]))
