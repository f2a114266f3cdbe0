"""The closing of a session: the result, its cost, where the files are, and how to continue."""

from __future__ import annotations

from pathlib import Path

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tune_app.analysis import format
from tune_app.analysis.facts import Summary
from tune_app.console import commands
from tune_app.core.journal import FILE_NAME
from tune_app.storage.study import StoredStudy


def write(console: Console, summary: Summary, study: StoredStudy, storage: object) -> None:
    """Prints the closing; `summary` is the result of `analysis.importance_words.in_full`.

    Paths and commands are never truncated or wrapped, so that they can be copied.
    """
    console.print(Group(Text(), *_answer(summary), *_samples(summary)))
    for title, rows in (
        ("where it is", _places(summary, study)),
        ("how to go on", _commands(summary, study.folder, storage)),
    ):
        width = max(len(label) for label, _ in rows)
        console.print(Text(f"\n{title}", "bold"))
        for label, text in rows:
            console.print(Text(f"  {label:<{width}}  {text}"), soft_wrap=True)


def _answer(summary: Summary) -> list[RenderableType]:
    best = summary.best
    if best is None:
        return [
            Text(summary.improvement.text, "bold"),
            *_so_far(summary),
            Text(_spent(summary)),
        ]
    head = f"best: trial {best.trial}, {summary.metric} {format.loss(best.value)}"
    values = Table.grid(padding=(0, 2))
    default = summary.baseline.params if summary.baseline else {}
    for name, value in best.params.items():
        untuned = f"(default {format.value(default[name])})" if name in default else ""
        values.add_row("  " + name, Text(format.value(value), "bold"), Text(untuned, "dim"))
    return [
        Text(head, "bold green"),
        values,
        Text(summary.improvement.text),
        *_so_far(summary),
        Text(summary.importance.text if summary.importance else ""),
        Text(_spent(summary)),
    ]


def _so_far(summary: Summary) -> list[Text]:
    """For a study that can be resumed: the incumbent, if it is below the full budget."""
    leader = summary.incumbent
    if summary.status == "ended" or leader is None or leader.fraction == 1:
        return []
    at, value = format.share(leader.fraction), format.loss(leader.value)
    values = format.params(leader.params)
    return [Text(f"Ahead at {at} of the budget: trial {leader.trial} with {value} ({values}).")]


def _spent(summary: Summary) -> str:
    elapsed = format.duration(summary.elapsed_s)
    tokens = format.tokens(summary.spent.tokens)
    return f"{summary.spent.text}. {tokens} tokens in {elapsed}."


def _samples(summary: Summary) -> list[RenderableType]:
    samples, best = summary.samples, summary.best
    if samples is None or best is None or not (samples.untrained and samples.best):
        return []
    panels = [
        Panel(Text(text.strip()), title=title, width=39, title_align="left")
        for title, text in (
            ("untrained", samples.untrained),
            (f"trial {best.trial}", samples.best),
        )
    ]
    return [Text(), Columns(panels)]


def _places(summary: Summary, study: StoredStudy) -> list[tuple[str, str]]:
    places = [("report", "report/report.md"), ("plots", "report")]
    best = summary.best
    if best is not None and best.checkpoint:
        places.append(("best model", best.checkpoint))
    places += [("checkpoints", "checkpoints"), ("W&B runs", "wandb"), ("logs", "logs")]
    if study.url is None:
        present = [at for at in [*places, ("journal", FILE_NAME)] if _is_filled(study, at[1])]
    else:
        # The working copy does not show what the bucket holds, which in the end is all of it.
        present = [*places, ("journal", "journal")]
    return [(label, f"{study.address}/{place}") for label, place in present]


def _is_filled(study: StoredStudy, place: str) -> bool:
    path = study.folder / place
    return any(path.iterdir()) if path.is_dir() else path.exists()


def _commands(summary: Summary, folder: Path, storage: object) -> list[tuple[str, str]]:
    verbs = [("see it again", "show"), ("report anew", "report")]
    if summary.status != "ended":
        verbs.insert(0, ("go on with", "resume"))
    rows = [(label, commands.verb(verb, folder.name, storage)) for label, verb in verbs]
    if list((folder / "wandb").glob("**/offline-run-*")):
        rows.append(("to W&B", commands.wandb_sync(folder / "wandb")))
    return rows
