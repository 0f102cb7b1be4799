"""What `gen-models compare` prints: the main table, verdicts, and what it wrote."""

from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE
from rich.table import Table

from gen_models.analysis.metrics import headlines, metric
from gen_models.comparison.compare import Comparison
from gen_models.comparison.report import cell, failed, references
from gen_models.comparison.summary import result
from gen_models.terminal import say

PAIRS = 4  # whose verdicts are printed


def show(comparison: Comparison, written: Sequence[Path]) -> None:
    """Print the answer, the comparison in short, and which files were written."""
    for finding in result(comparison):
        say(finding.text)
    say(_main_table(comparison))
    for pair in comparison.verdicts[:PAIRS]:
        headline = [verdict for verdict in pair.verdicts if verdict.is_headline]
        measured = "" if headline else " not compared, as they have no metric in common"
        say(f"{pair.one.label} against {pair.other.label}:{measured}")
        for verdict in headline:
            better = f" ({verdict.better} is better)" if verdict.better else ""
            say(f"  {verdict.metric} {verdict.text}{better}")
    if len(comparison.verdicts) > PAIRS:
        say(f"{len(comparison.verdicts) - PAIRS} more pairs in the report")
    for note in comparison.notes:
        say(f"! {note}")
    for path in written:
        say(f"  {path}")


def _main_table(comparison: Comparison) -> Table:
    """The main table, with the columns that fit on a terminal."""
    keys = comparison.headlines
    shown = headlines("terminal", keys)
    heads = (metric(key).title for key in shown)
    table = Table("", "failed", *heads, box=SIMPLE, pad_edge=False)
    for group in comparison.groups:
        cells = (cell(group, key) for key in shown)
        numbers = ("\n".join([each.text, *each.details]) for each in cells)
        table.add_row(group.label, failed(group), *numbers)
    table.add_section()
    for words, texts in references(comparison):
        cells_shown = [texts[keys.index(key)] for key in shown]
        if set(cells_shown) != {"-"}:
            table.add_row(words, "", *cells_shown)
    return table
