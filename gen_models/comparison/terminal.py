"""What `gen-models compare` prints: the main table, verdicts, claims, and what it wrote."""

from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from gen_models.comparison.compare import Comparison
from gen_models.comparison.metrics import QUICK, metric
from gen_models.comparison.report import beside, cell, is_told

SHOWN = ("fid_lenet", "coverage", "encoder/mse", "inversion/mse")  # the rest is in the report
PAIRS = 4  # whose verdicts are printed


def show(comparison: Comparison, written: Sequence[Path]) -> None:
    """Print the comparison in short."""
    console = Console(highlight=False)

    def say(line: str) -> None:
        console.print(line, soft_wrap=True, markup=False)

    keys = comparison.headlines
    shown = [index for index, key in enumerate(keys) if key.removeprefix(QUICK) in SHOWN]
    heads = (f"{keys[index]} {metric(keys[index]).arrow}" for index in shown)
    table = Table("", "seeds", *heads, box=SIMPLE, pad_edge=False)
    for group in comparison.groups:
        cells = [cell(group, keys[index]) for index in shown]
        table.add_row(
            group.label,
            str(len(group.runs)),
            *(f"{c.text}\n± {c.half}" if c.half else c.text for c in cells),
        )
    table.add_section()
    for words, figures in beside(comparison):  # floor, ceilings, recreation without a model
        if any(figures[index] != "-" for index in shown):
            table.add_row(words, "", *(figures[index] for index in shown))
    console.print(table)
    for sweep in comparison.sweeps:
        say(f"{sweep.metric} by {sweep.key}:")
        for line in sweep.lines:
            say(f"  {line.label}: {line.best or 'one setting'}")
    for one, other, verdicts in comparison.verdicts[:PAIRS]:
        say(f"{one.label} against {other.label}:")
        for verdict in filter(is_told, verdicts):
            better = f" ({verdict.better} is better)" if verdict.better else ""
            say(f"  {verdict.key} {verdict.text}{better}")
    if len(comparison.verdicts) > PAIRS:
        say(f"{len(comparison.verdicts) - PAIRS} more pairs in the report")
    if comparison.claims:
        say("The report's claims:")
    for answer in comparison.answered:
        say(f"  {answer.claim} {answer.says} {answer.summary}")
    if comparison.unanswered:
        names = ", ".join(answer.claim for answer in comparison.unanswered)
        say(f"  {names}: not answered by these runs; the report says what would answer them")
    for note in comparison.notes:
        say(f"! {note}")
    for path in written:
        say(f"  {path}")
