"""A program that speaks the worker's protocol and trains nothing. Settings say how it behaves.

The type of a trial's `masker` decides what happens when the trial is run:

- `Crashes`, `CrashesOnce`: the process is killed, always or at the first attempt
- `Exits`: the process ends with exit code 3
- `Fails`: the trial fails
- `Sleeps`, `SleepsBriefly`, `SleepsOneSecond`: it takes long
- `SleepsWhileScoring`: it sleeps once the first task is scored
- `IgnoresSigterm`: it sleeps and ignores SIGTERM
- `PrintsToStdout`: it prints lines that are not messages
- anything else: it is done; `Matched` is `Good` on squares

The masker's `lift` is added to the scores, with a small random number of each trial.
"""

import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from ablate.core.records.plan import (
    DataSummary,
    PlanReply,
    PlanRequest,
    ResolvedRun,
    ResolvedTrial,
    SettingProblem,
    TaskSummary,
    TrialFacts,
    TrialReply,
)
from ablate.core.records.run import ParameterCounts, RunConfig
from ablate.runs.record import read_record
from ablate.runs.store import CONFIG_FILE
from tests.run_folders import write_record, write_score, write_tasks

STAND_IN = (sys.executable, __file__)  # in place of the worker's command
TASKS = ("speech", "music")
DEFAULTS = {"masker": {"ratio": 0.5}}


def say(event: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def name(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10]


def plan(request: dict[str, Any]) -> dict[str, Any]:
    say({"event": "progress", "label": "clips", "done": 4, "total": 4})
    asked = PlanRequest.from_json(request["plan"], "the request")
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
    reply = PlanReply(
        trials=tuple(map(plan_one, asked.trials)),
        data=(data,),
        probes={key: {**probe, "temperature": 1.0} for key, probe in asked.probes.items()},
    )
    return {"event": "result", "plan": reply.to_json()}


def plan_one(settings: dict[str, Any]) -> TrialReply:
    settings = {**settings, "masker": {**DEFAULTS["masker"], **settings["masker"]}}
    if (settings["masker"].get("type"), settings["patchifier"]["type"]) == ("Matched", "Squares"):
        settings["masker"]["type"] = "Good"
    if settings["masker"]["ratio"] > 1:
        problem = SettingProblem(path=("masker", "ratio"), message="must be at most 1")
        return TrialReply(problems=(problem,))
    init = {"patchifier": settings["patchifier"], "seed": settings["seed"]}
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
        fingerprint=name(settings),
        random_init=ResolvedRun(kind="random_init", settings=init, fingerprint=name(init)),
        statistics=ResolvedRun(kind="mel_statistics", settings=data, fingerprint=name(data)),
        facts=facts,
    )
    return TrialReply(trial=resolved)


def run(request: dict[str, Any]) -> dict[str, Any]:
    folder = Path(request["folder"])
    config = RunConfig.read(folder / CONFIG_FILE)
    trained = read_record(folder).state != "done"
    if trained:
        with (folder / "trainings").open("a") as file:
            file.write(f"{os.getpid()} {request['device']} {os.environ['OMP_NUM_THREADS']}\n")
        write_record(folder, "running", kind=config.kind)
        kind = config.settings.get("masker", {}).get("type", "")
        if kind == "CrashesOnce" and len((folder / "trainings").read_text().splitlines()) > 1:
            kind = "Good"
        behave(kind)
        if config.settings.get("masker", {}).get("type") == "Fails":
            write_record(folder, "failed", "nan: at step 7")
            return {"event": "result", "state": "failed", "reason": "nan: at step 7"}
    if trained and request.get("until"):
        aside = folder / "rungs" / str(request["until"])
        probe({**request, "folder": str(aside)}, config)
        write_record(folder, "preempted", kind=config.kind)
        return {"event": "result", "state": "paused", "reason": "paused"}
    write_record(folder, "done", kind=config.kind)
    return {
        "event": "result",
        "state": "done",
        "trained": trained,
        "probed": probe(request, config),
    }


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
        say({"event": "progress", "label": "train", "done": 1, "total": 2})
        time.sleep(60)
    if kind == "SleepsOneSecond":
        time.sleep(1)
    if kind == "SleepsBriefly":
        time.sleep(0.2)
    say({"event": "progress", "label": "train", "done": 2, "total": 2})


def probe(request: dict[str, Any], config: RunConfig) -> list[str]:
    probed = []
    valid = 41.0 + config.settings.get("optimizer", {}).get("rate", 0)
    masker = config.settings.get("masker", {})
    folder = Path(request["folder"])
    write_tasks(folder, *TASKS)
    lift = masker["lift"] + int(name(config.settings), 16) % 100 / 100 if "lift" in masker else 0
    for key, settings in request["probes"].items():
        for task in TASKS:
            if not (folder / "probes" / task / f"{name(settings)}.json").exists():
                test = 40.0 if task == "speech" else 50.0
                scores = {"valid": valid + lift, "test": test + lift}
                poolings = {pooling: scores for pooling in ("mean", "mean_std", "concat_freq")}
                if config.kind == "jepa":
                    poolings["mean_std"] = {part: 1 + value for part, value in scores.items()}
                write_score(folder, task, settings, name(settings), **poolings)
                probed.append(key)
                if masker.get("type") == "SleepsWhileScoring":
                    time.sleep(60)
    return probed


def gallery(request: dict[str, Any]) -> dict[str, Any]:
    folder = Path(request["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    pictures = []
    for trial in request["trials"]:
        file = f"{trial['masker']}--{trial['patchifier']}.png"
        (folder / file).write_bytes(b"a picture")
        labels = {"masker": trial["masker"], "patchifier": trial["patchifier"]}
        pictures.append({**labels, "file": file, "context": 0.4, "targets": 0.6})
    return {"event": "result", "title": "a clip", "pictures": pictures}


def main() -> None:
    if "--broken" in sys.argv:
        sys.exit("no module named `my_lab`")
    gpus = int(sys.argv[sys.argv.index("--gpus") + 1]) if "--gpus" in sys.argv else 0
    say({"event": "ready", "gpus": gpus, "torch": "0"})
    for line in sys.stdin:
        request = json.loads(line)
        probes = request["plan"]["probes"] if request["do"] == "plan" else request.get("probes", {})
        if any(settings.get("k") == 0 for settings in probes.values()):
            problem = {"path": ["probes", "knn", "k"], "message": "must be at least 1, got 0"}
            say({"event": "error", "problems": [problem]})
        else:
            say({"plan": plan, "run": run, "gallery": gallery}[request["do"]](request))


if __name__ == "__main__":
    main()
