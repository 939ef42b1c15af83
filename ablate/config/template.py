"""Writes a study to start from, or copies a file of the package: `ablate init`."""

import re
import shlex
from pathlib import Path

from ablate.config.package_files import list_package_files
from ablate.config.tree import to_flow_yaml
from ablate.core.io import write_atomically
from ablate.core.suggest import did_you_mean

TEXT = """\
# Does the shape of the mask matter?
#
#   ablate plan {file}       checks this file and shows what it would run
#   ablate run {file}        runs what is missing, and reports
#
# 2 maskers x 5 seeds = 10 trials: about three minutes on a two-core machine.
study: {name}
# notify: notify-send # a command, or ${{NAME}} of a URL, that is told when the study has ended
baseline: # all settings of a trial; each `type` is a path that Python can import
  data: {{type: ablate.audio.synthetic.Synthetic, clips_per_class: 30}} # your own sound:
  # data: {{type: ablate.audio.sources.Folder, manifest: my_sounds/manifest.csv}}
  mel: {{type: ablate.audio.mel.LogMel, sample_rate: 16000, bands: 64}}
  crop_frames: 128 # 1.28 s; any multiple of the width of a patch
  patchifier: {{type: ablate.model.patchify.Rectangles, freq: 16, time: 16}}
  masker: {{type: maskers.Random, ratio: 0.625}} # `ablate zoo` shows the others
  encoder: {{type: ablate.model.vit.ViT, dim: 64, layers: 2, heads: 2}}
  predictor: {{type: ablate.model.predictor.Joint, dim: 64, layers: 2, heads: 2}}
  objective: {{type: ablate.model.objectives.SmoothL1, beta: 1.0}}
  budget: {{steps: 600, batch: 16}}
  optimizer: {{rate: 1.0e-3}} # on a GPU, add precision: bf16
factors: # any setting, by its dotted path; a level replaces the whole branch of the baseline
  masker:
    random: {{type: maskers.Random, ratio: 0.625}} # hides 62.5 % of the patches, one by one
    block: {{type: maskers.BlockWise, ratio: 0.625}} # hides as many, in rectangles
    # `match` finds the value at which another masker shows as much:
    # blocks: {{type: maskers.MultiBlock, match: {{context: 0.375, by: context_area}}}}
  # optimizer.rate: [5.0e-4, 1.0e-3] # in a list, each value is a level
# design: one_factor # default: grid, every combination
# exclude: [{{masker: block, optimizer.rate: 5.0e-4}}]
seeds: 5 # the same ones for every variant; fewer than five seldom decide anything
score: knn.mean_std # probe.pooling, the mean over tasks; higher is better
report: {{equivalence_margin: 2.0}} # points; levels shown to differ by less are equivalent
"""


def write_template(file: Path) -> Path:
    """Writes the template, named after its file; returns its path.

    Raises `ValueError` if `file` exists, or if its name does not end in `.yaml`.
    """
    _check_is_new(file)
    name = re.sub(r"[^\w.+-]+", "_", file.stem).lstrip(".+-") or "study"
    write_atomically(file, TEXT.format(file=shlex.quote(str(file)), name=to_flow_yaml(name)))
    return file


def copy_package_file(name: str, file: Path) -> Path:
    """Copies a study, a recipe or a cluster profile of the package; returns the path of the copy.

    Args:
        name: `masking`, `recipes/a_jepa` or `slurm/gpu`, with or without `.yaml`.
        file: File to write.

    Raises:
        ValueError: There is no such file in the package, or `file` exists or is not YAML.
    """
    _check_is_new(file)
    files = {key.removesuffix(".yaml"): path for key, path in list_package_files().items()}
    original = files.get(name.removesuffix(".yaml"))
    if original is None:
        raise ValueError(f"the package has no file `{name}`{did_you_mean(name, files)}")
    write_atomically(file, original.read_text(encoding="utf-8"))
    return file


def _check_is_new(file: Path) -> None:
    if file.suffix not in (".yaml", ".yml"):
        raise ValueError(f"a study is a YAML file, such as studies/mine.yaml; got {file}")
    if file.exists():
        raise ValueError(f"{file} already exists; name another file")
