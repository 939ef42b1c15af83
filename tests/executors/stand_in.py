"""A program that speaks the worker's protocol and trains nothing. Settings say how it behaves.

The type of a trial's `masker` decides what happens when the trial is run:

- `Crashes`, `CrashesOnce`: the process is killed, always or at the first attempt
- `Exits`: the process ends with exit code 3
- `Fails`: the trial fails
- `FillsDisk`: the trial is preempted because the disk is full
- `Sleeps`, `SleepsBriefly`, `SleepsOneSecond`: it takes long
- `SleepsWhileScoring`: it sleeps once the first task is scored
- `IgnoresSigterm`: it sleeps and ignores SIGTERM
- `PrintsToStdout`: it prints lines that are not messages
- anything else: it is done; `Matched` is `Good` on squares

With `--sleep-at N`, its Nth training writes a file `asleep` into the working folder and sleeps.

The optimizer's `rate` is what a run costs, in TFLOPs. The masker's `lift` is added to the scores,
with a small random number of each trial.
"""

import hashlib
import itertools
import json
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from ablate.core.records.decoding_requests import DecodedStore, DecodeReply, DecodeRequest
from ablate.core.records.messages import (
    REQUESTS,
    ErrorReply,
    GalleryReply,
    GalleryRequest,
    ProgressMessage,
    ReadyMessage,
    RunReply,
    RunRequest,
)
from ablate.core.records.plan import DataSummary, MaskPicture, TaskSummary, TrialFacts
from ablate.core.records.planning import (
    FurtherInit,
    PlanReply,
    PlanRequest,
    ResolvedRun,
    ResolvedTrial,
    SettingProblem,
    TrialReply,
)
from ablate.core.records.protocol import Message, Reply, parse_message
from ablate.core.records.run import CONFIG_FILE, ParameterCounts, RunConfig
from ablate.runs.record import read_record
from tests.run_folders import COST, write_record, write_score, write_tasks

STAND_IN = (sys.executable, __file__)  # in place of the worker's command
TASKS = ("speech", "music")
DEFAULTS = {"masker": {"ratio": 0.5}}
TRAININGS = itertools.count(1)


def send(message: Message) -> None:
    sys.stdout.write(message.to_line())
    sys.stdout.flush()


def get_hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10]


def plan(request: PlanRequest) -> PlanReply:
    send(ProgressMessage(label="clips", done=4, total=4))
    counts = TaskSummary(classes=2, train=1, valid=1, test=1)
    data = DataSummary(
        digest="d",
        synthetic=False,
        clips=4,
        pretraining_clips=4,
        skipped=(("c.wav", "no audio"),),
        silent=("d.wav",),
        tasks=dict.fromkeys(TASKS, counts),
    )
    patchifiers = {get_hash(trial.get("patchifier")) for trial in request.trials}
    count = request.random_inits if len(patchifiers) > 1 else 1
    return PlanReply(
        trials=tuple(plan_one(trial, count) for trial in request.trials),
        data=(data,),
        probes={key: {**probe, "temperature": 1.0} for key, probe in request.probes.items()},
    )


def plan_one(settings: dict[str, Any], random_inits: int) -> TrialReply:
    settings = {**settings, "masker": {**DEFAULTS["masker"], **settings["masker"]}}
    if (settings["masker"].get("type"), settings["patchifier"]["type"]) == ("Matched", "Squares"):
        settings["masker"]["type"] = "Good"
    if settings["masker"]["ratio"] > 1:
        problem = SettingProblem(path=("masker", "ratio"), message="must be at most 1")
        return TrialReply(problems=(problem,))
    init, *further = (
        {"patchifier": settings["patchifier"], "seed": settings["seed"] + 1000 * number}
        for number in range(random_inits)
    )
    data = {"data": settings["data"]}
    facts = TrialFacts(
        data="d",
        grid=(4, 8),
        parameters=ParameterCounts(encoder=1000, predictor=500),
        context=0.4,
        targets=0.6,
    )
    resolved = ResolvedTrial(
        kind="jepa",
        settings=settings,
        fingerprint=get_hash(settings),
        random_init=ResolvedRun(kind="random_init", settings=init, fingerprint=get_hash(init)),
        further_inits=tuple(
            FurtherInit(seed=other["seed"], fingerprint=get_hash(other)) for other in further
        ),
        statistics=ResolvedRun(kind="mel_statistics", settings=data, fingerprint=get_hash(data)),
        facts=facts,
    )
    return TrialReply(trial=resolved)


def run(request: RunRequest) -> RunReply:
    folder = request.folder
    config = RunConfig.read(folder / CONFIG_FILE)
    trained = read_record(folder).state != "done"
    if trained:
        with (folder / "trainings").open("a") as file:
            file.write(f"{os.getpid()} {request.device} {os.environ['OMP_NUM_THREADS']}\n")
        write_record(folder, "running", kind=config.kind)
        kind = config.settings.get("masker", {}).get("type", "")
        if kind == "CrashesOnce" and len((folder / "trainings").read_text().splitlines()) > 1:
            kind = "Good"
        behave(kind)
        if config.settings.get("masker", {}).get("type") == "FillsDisk":
            write_record(request.folder, "preempted", "node: no space")
            return RunReply(state="preempted", reason="node: no space", machine_failed=True)
        if config.settings.get("masker", {}).get("type") == "Fails":
            write_record(folder, "failed", "nan: at step 7")
            return RunReply(state="failed", reason="nan: at step 7")
    if trained and request.until:
        probe(folder / "rungs" / str(request.until), request.probes, config)
        write_record(folder, "preempted", kind=config.kind)
        return RunReply(state="paused", reason="paused")
    rate = config.settings.get("optimizer", {}).get("rate")
    cost = None if rate is None else replace(COST, flops=round(rate * 1e12))
    write_record(folder, "done", kind=config.kind, cost=cost)
    probed = probe(folder, request.probes, config)
    return RunReply(state="done", trained=trained, probed=tuple(probed))


def behave(kind: str) -> None:
    if kind in ("Crashes", "CrashesOnce"):
        sys.stderr.write("out of luck\n")
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "Exits":
        sys.stderr.write("out of luck\n")
        sys.exit(3)
    if kind == "PrintsToStdout":
        sys.stdout.write("a library says hello\n[1, 2]\n")
    if kind == "IgnoresSigterm":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if kind in ("Sleeps", "IgnoresSigterm"):
        send(ProgressMessage(label="train", done=1, total=2))
        time.sleep(60)
    if kind == "SleepsOneSecond":
        time.sleep(1)
    if kind == "SleepsBriefly":
        time.sleep(0.2)
    if next(TRAININGS) == get_option("--sleep-at"):
        Path("asleep").touch()
        time.sleep(600)
    send(ProgressMessage(label="train", done=2, total=2))


def probe(folder: Path, probes: dict[str, Any], config: RunConfig) -> list[str]:
    probed = []
    valid = 41.0 + config.settings.get("optimizer", {}).get("rate", 0)
    masker = config.settings.get("masker", {})
    write_tasks(folder, *TASKS)
    lift = (
        masker["lift"] + int(get_hash(config.settings), 16) % 100 / 100 if "lift" in masker else 0
    )
    for key, settings in probes.items():
        for task in TASKS:
            if not (folder / "probes" / task / f"{get_hash(settings)}.json").exists():
                test = 40.0 if task == "speech" else 50.0
                scores = {"valid": valid + lift, "test": test + lift}
                poolings = {pooling: scores for pooling in ("mean", "mean_std", "concat_freq")}
                if config.kind == "jepa":
                    poolings["mean_std"] = {part: 1 + value for part, value in scores.items()}
                write_score(folder, task, settings, get_hash(settings), **poolings)
                probed.append(key)
                if masker.get("type") == "SleepsWhileScoring":
                    time.sleep(60)
    return probed


def gallery(request: GalleryRequest) -> GalleryReply:
    request.folder.mkdir(parents=True, exist_ok=True)
    pictures = []
    for trial in request.trials:
        labels = {"masker": trial.masker, "patchifier": trial.patchifier}
        file = f"{trial.masker}--{trial.patchifier}.png"
        (request.folder / file).write_bytes(b"a picture")
        pictures.append(MaskPicture(**labels, file=file, context=0.4, targets=0.6))
    return GalleryReply(title="a clip", pictures=tuple(pictures))


def handle(request: Message) -> Reply:
    probes = getattr(request, "probes", {})
    if any(settings.get("k") == 0 for settings in probes.values()):
        problem = SettingProblem(path=("probes", "knn", "k"), message="must be at least 1, got 0")
        return ErrorReply(problems=(problem,))
    match request:
        case PlanRequest():
            return plan(request)
        case RunRequest():
            return run(request)
        case DecodeRequest():
            store = DecodedStore(folder=Path("cache/store"), clips=4, bad=1, hours=2, bytes=5000)
            return DecodeReply(stores=(store,))
        case GalleryRequest():
            return gallery(request)
    raise ValueError(f"the stand-in does not serve {type(request).__name__}")


def get_option(name: str) -> int:
    return int(sys.argv[sys.argv.index(name) + 1]) if name in sys.argv else 0


def main() -> None:
    if "--broken" in sys.argv:
        sys.exit("no module named `my_lab`")
    send(ReadyMessage(gpus=get_option("--gpus"), torch="0"))
    for line in sys.stdin:
        send(handle(parse_message(line, REQUESTS)))


if __name__ == "__main__":
    main()
