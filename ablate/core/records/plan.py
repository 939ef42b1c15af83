"""Defines how a worker is asked to validate trials, and its reply."""

from dataclasses import dataclass, field
from typing import Any

from ablate.core.records.protocol import Reply, Request
from ablate.core.records.record import Item

Settings = dict[str, Any]  # settings of a trial or a probe


@dataclass(frozen=True, kw_only=True)
class SettingProblem(Item):
    """One thing that is wrong with a setting."""

    path: list[str]  # keys that lead to the setting; empty for the settings as a whole
    message: str


@dataclass(frozen=True, kw_only=True)
class PlanReply(Reply):
    """What a worker found out about trials; the problems of a trial are in its entry."""

    trials: list[dict[str, Any]]
    data: list[dict[str, Any]]
    probes: dict[str, Settings]  # with every default written out


@dataclass(frozen=True, kw_only=True)
class PlanRequest(Request[PlanReply]):
    """Validates trials, opens their audio and resolves their settings."""

    trials: list[Settings]
    probes: dict[str, Settings] = field(default_factory=dict)
    inner: list[list[list[str]]] = field(
        default_factory=list
    )  # per trial: paths to drop if unknown
    matched_budget: dict[str, Any] | None = None
    quiet: bool = False  # only reports problems, opens no audio
    score: dict[str, Any] | None = None
    evaluate: dict[str, Any] | None = None
