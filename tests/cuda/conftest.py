"""A Python whose `cuda` device is fake: how it is built and started."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RunSteps = Callable[..., dict[str, Any]]


def find_obstacle() -> str | None:
    """Returns why fake CUDA tensors cannot be used here, if they cannot."""
    if torch.cuda.is_available():
        return "a real GPU is here; run tests/cuda/gpu_check.sh"
    if not torch.backends.cuda.is_built():
        return f"needs a CUDA build of torch, which is about 3 GB; this is {torch.__version__}"
    if shutil.which("g++") is None:
        return "needs a C++ compiler: apt-get install g++"
    if importlib.util.find_spec("xformers") is None:
        return "needs xformers"
    return None


@pytest.fixture(scope="session")
def fake_gpu(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process with a fake GPU; skips, or fails where required, without."""
    if obstacle := find_obstacle():
        if "fakecuda" in os.environ.get("ABLATE_REQUIRE", "").split(","):
            pytest.fail(obstacle)
        pytest.skip(obstacle)
    folder = tmp_path_factory.mktemp("fake_cuda")
    shim, stub = folder / "shim.so", folder / "libcuda.so.1"
    compiler = ["g++", "-shared", "-fPIC", "-o"]
    subprocess.run([*compiler, shim, HERE / "device_shim.cpp"], check=True)
    soname = "-Wl,-soname,libcuda.so.1"
    subprocess.run([*compiler, stub, soname, HERE / "driver_stub.cpp"], check=True)
    return {
        **os.environ,
        "FAKE_CUDA_SHIM": str(shim),
        "LD_PRELOAD": str(shim),
        "LD_LIBRARY_PATH": str(folder),
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }


@pytest.fixture
def run_steps(fake_gpu: dict[str, str], tmp_path: Path) -> RunSteps:
    """Runs steps of a trial's settings on the fake GPU; returns what the device saw, by kind."""

    def run(settings: dict[str, Any], **environment: str) -> dict[str, Any]:
        file = tmp_path / "settings.json"
        file.write_text(json.dumps(settings))
        done = subprocess.run(
            [sys.executable, HERE / "device_steps.py", file],
            env={**fake_gpu, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]
        seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return seen

    return run
