"""`ablate zoo` and `ablate bench maskers` with the real worker, on a small package."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ablate.cli import bench, zoo
from ablate.core.records.benchmarks import DrawTiming, MaskerTiming, MaskerTimingsReply

ROOT = Path(__file__).parents[2]
PACKAGE = '''\
"""A few maskers."""

from dataclasses import dataclass

from ablate.model.masking import AbstractMasker
from maskers import MultiBlock, Random, ScheduledSetting


@dataclass(frozen=True, kw_only=True)
class Needy(AbstractMasker):
    """Needs a masker, and documents no example of its settings."""

    masker: AbstractMasker

    @property
    def promises(self):
        return self.masker.promises

    def draw(self, clips, generator):
        return self.masker.draw(clips, generator)


__all__ = ["MultiBlock", "Needy", "Random", "ScheduledSetting"]
'''


@pytest.fixture
def package_dir(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "few.py").write_text(PACKAGE)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        patch.setenv("PYTHONPATH", str(ROOT))
        for name in ("ABLATE_RUNS", "ABLATE_REPORTS", "ABLATE_CACHE"):
            patch.delenv(name, raising=False)
        yield tmp_path


def test_zoo_prints_a_table_and_writes_a_page(
    package_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert zoo.show_zoo("few", grid="4x8") == 0
    lines = capsys.readouterr().out.splitlines()
    [random] = [line.split() for line in lines if line.startswith(" Random")]
    assert random[1:5] == ["40.6", "40.6", "to", "40.6"]
    assert "Needy: `few.Needy` needs `masker`" in lines
    assert any(line.startswith(" ScheduledSetting") for line in lines)
    assert lines[-1] == "reports/zoo/few/index.html"
    folder = package_dir / "reports" / "zoo" / "few"
    page = (folder / "index.html").read_text()
    assert page.count('src="data:image/png;base64,') == 3 * 2 * 2
    assert "http" not in page.replace("http-equiv", "")
    assert (folder / "zoo-4x8.csv").read_text().startswith("masker,problem,context,")
    assert (folder / "MultiBlock--1x32.png").exists()
    assert {path.name for path in package_dir.iterdir()} - {"__pycache__"} == {"few.py", "reports"}


def test_bench_maskers_compares_with_a_plain_draw_and_a_loop(
    package_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.benchmark_maskers("few", grid="2x4", batch=4, as_json=True) == 0
    summary = json.loads(capsys.readouterr().out)
    names = {masker["name"]: masker for masker in summary["maskers"]}
    assert names["Needy"]["problem"]
    loop = summary["loop"]["ratio"] / names["MultiBlock"]["ratio"]
    assert summary["blocks_faster_than_loop"] == pytest.approx(loop)
    assert (summary["grid"], summary["batch"], summary["limit"]) == ("2x4", 4, 4.0)


def test_maskers_over_the_limit_are_named_unless_declared_slow() -> None:
    masker = MaskerTiming(name="Late", problem=None, ratio=5.0, milliseconds=1.0)
    measured = MaskerTimingsReply(
        grid="8x64",
        batch=256,
        loop=DrawTiming(ratio=10.0, milliseconds=30.0, plain_milliseconds=3.0),
        maskers=(
            masker,
            replace(masker, name="Slow", slow="it grows block by block"),
            replace(masker, name="MultiBlock", ratio=0.5),
            MaskerTiming(name="Picky", problem="no"),
        ),
    )
    summary = bench.summarise_maskers(measured.to_json())
    assert summary["over"] == ["Late"]
    assert summary["blocks_faster_than_loop"] == 20
    assert "MultiBlock is 20 times as fast" in bench.describe_maskers(summary)[-1]


@pytest.mark.parametrize(
    ("package", "grid", "message"),
    [
        ("maskers", "8by64", "such as 8x64; got `8by64`"),
        ("maskers", "1x1", "two at least"),
        ("nowhere", "4x8", "no module `nowhere` on Python's path"),
    ],
)
def test_invalid_arguments_raise_before_anything_is_written(
    package_dir: Path, capsys: pytest.CaptureFixture[str], package: str, grid: str, message: str
) -> None:
    assert zoo.show_zoo(package, grid=grid) == 2
    assert message in capsys.readouterr().err
    assert not (package_dir / "reports").exists()
