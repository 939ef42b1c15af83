"""The examples under the help of each command."""

EXAMPLES: dict[str, tuple[str, ...]] = {
    "run": (
        "ablate run studies/masking.yaml --workers 2",
        "ablate run studies/masking.yaml budget.steps=60 seeds=2   # writes to masking-try",
        "ablate run studies/masking.yaml --slurm gpu --watch",
    ),
    "plan": ("ablate plan studies/masking.yaml --time", "ablate plan mine.yaml seeds=8 --json"),
    "prepare": (
        "ablate prepare studies/masking.yaml",
        "ablate prepare mine.yaml --slurm cpu --jobs 32",
    ),
    "status": ("ablate status", "ablate status masking --watch"),
    "logs": ("ablate logs 3f2a -f", "ablate logs masking masker=block seed=0"),
    "cancel": ("ablate cancel masking --yes",),
    "retry": ("ablate retry masking", "ablate retry masking oom timeout"),
    "report": ("ablate report masking", "ablate report mine.yaml report.alpha=0.1"),
    "publish": ("ablate publish masking", "ablate publish masking --no-gallery"),
    "followup": ("ablate followup studies/masking.yaml --seeds 12",),
    "compare": ("ablate compare masking masking-try --html comparison.html",),
    "why-different": ("ablate why-different 3f2a 91bc",),
    "show": ("ablate show 3f2a", "ablate show masking masker=block seed=0", "ablate show --schema"),
    "clean": ("ablate clean", "ablate clean --done --yes"),
    "doctor": ("ablate doctor", "ablate doctor --slurm gpu"),
    "init": ("ablate init studies/mine.yaml",),
    "manifest": (
        "ablate manifest my_sounds --layout subfolder",
        "ablate manifest recordings --layout flat --label '^(.+?)_' --group '_(.+?)_'",
    ),
    "export": ("ablate export 3f2a --to my_encoder --license mit",),
    "features": ("ablate features 3f2a my_sounds --to features.parquet",),
    "zoo": ("ablate zoo", "ablate zoo my_lab.masks --out zoo"),
    "dashboard": ("ablate dashboard studies/sweep.yaml --port 8080",),
    "tensorboard": ("ablate tensorboard studies/masking.yaml",),
    "sync": ("ablate sync masking --to wandb", "ablate sync masking --to mlflow --follow"),
    "steps": ("ablate bench steps studies/masking.yaml --seconds 20",),
    "maskers": ("ablate bench maskers --grid 8x64",),
    "peers": (
        "ablate bench peers ~/checkouts",
        "ablate bench peers ~/checkouts --json",
    ),
    "loader": ("ablate bench loader studies/masking.yaml",),
}


def format_examples(command: str) -> str:
    """Formats the examples of a command, each on its own line."""
    return "\n\n".join(("Examples:", *(f"  {line}" for line in EXAMPLES[command])))
