"""The key `match_budget` of a study: of what all of its trials are to take up the same amount."""

from collections.abc import Mapping

from ablate.config.tree import Node
from ablate.core.suggest import did_you_mean

WAYS = ("steps", "clips", "flops")


def check_match_budget(
    text: Node, factors: Mapping[str, Mapping[str, Node]], problems: list[str]
) -> str | None:
    """Reads the key: steps, clips or flops; None where it is not written.

    What is wrong is added to `problems`, as are levels that set their own steps all the same.
    """
    node = text.children.get("match_budget")
    if node is None:
        return None
    way, rule = str(node.value), f"`match_budget` must be one of {', '.join(WAYS)}"
    if way == "seconds":
        problem = "seconds depend on what else the machine is doing; match `flops`"
        problems.append(f"{node.place}: {rule}: {problem}, and cap hours with `limits`")
    elif way not in WAYS:
        problems.append(f"{node.place}: {rule}{did_you_mean(way, WAYS)}; got {node.plain()!r}")
    if "sweep" in text.children:
        problem = "the points of a `sweep` may differ in cost; leave out one of the two"
        problems.append(f"{node.place}: `match_budget`: {problem}")
    steps = text.nearest(("baseline",)).at(("budget", "steps"))
    for name, levels in factors.items():
        for label, level in levels.items():
            own = level if name == "budget.steps" else level.at(("steps",))
            if name not in ("budget", "budget.steps") or own is None:
                continue
            if steps is None or not own.equals(steps):
                problem = f"level `{label}` of factor `{name}` sets `budget.steps` itself"
                problems.append(f"{own.place}: {problem}; leave that out, or `match_budget`")
    return way
