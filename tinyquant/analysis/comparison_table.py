"""A comparison as a table that can be read from the back row: plain ASCII, aligned, at most 80 columns.

With this module one can print a `Comparison` (`comparison_text`, which is what `str` of it is).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tinyquant.analysis.compare import Comparison, NodeComparison

__all__ = ["aligned", "comparison_text", "number"]

WIDTH = 80
_NAME = 18
_HEADINGS = (
    ("node", "SQNR", "max", "mean", "bias", "rmse", "sat", "dead", "codes", "differ"),
    ("", "dB", "LSB", "LSB", "LSB", "/unif", "%", "%", "used", "codes"),
)
_LEGEND = (
    "LSB = one step of the second model; rmse/unif = 1 for an error spread evenly",
    "over one step; sat = codes at an end; dead = no gradient passes.",
)


def number(value: float | None, digits: int = 2) -> str:
    """A number for a narrow column: "-" for None, "inf" and "-inf", short where it is large.

    >>> number(None), number(float("inf")), number(3.14159), number(12345.6), number(0.0), number(-0.0004)
    ('-', 'inf', '3.14', '12346', '0', '-4e-04')
    """
    if value is None:
        return "-"
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:.0f}"
    text = f"{value:.{digits}f}"
    return text if float(text) else f"{value:.0e}"


def aligned(rows: Sequence[Sequence[str]], *, gap: int = 2) -> list[str]:
    """Rows of cells as lines: the first column to the left, the others to the right, `gap` blanks between.

    >>> aligned([["a", "bb"], ["ccc", "1"]])
    ['a    bb', 'ccc   1']
    """
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    padded = ([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:]))] for row in rows)
    return [(" " * gap).join(cells).rstrip() for cells in padded]


def comparison_text(report: Comparison) -> str:
    """The whole report: a line of title, the table, the first parting, the causes."""
    fed = "each model on its own values" if report.inputs == "own" else f"each node on the values of {report.a}"
    lines = [f"{report.a} -> {report.b}, {report.batch} row{'s' * (report.batch != 1)}, {fed}", ""]
    body = aligned([*_HEADINGS, *(_cells(row) for row in report.rows)])
    lines += [*body[:2], "-" * max(map(len, body)), *body[2:], "", *_LEGEND]
    lines += _why(report)
    for side, names in ((report.a, report.only_a), (report.b, report.only_b)):
        if names:
            lines += ["", *_wrapped(f"Only in {side}: {', '.join(names)}.")]
    return "\n".join(lines) + "\n"


def _cells(row: NodeComparison) -> tuple[str, ...]:
    """One line of the table."""
    m = row.total
    name = row.name if len(row.name) <= _NAME else f"{row.name[:6]}...{row.name[9 - _NAME :]}"
    whole = [("-" if count is None else str(count)) for count in (m.codes_used, m.differing)]
    return (
        name, number(m.sqnr_db, 1), number(m.max_lsb), number(m.mean_lsb, 3), number(m.bias_lsb, 3), number(m.rmse_ratio),
        number(m.saturated, 1), number(m.dead, 1), *whole,
    )  # fmt: skip


def _why(report: Comparison) -> list[str]:
    """What is known about codes that differ."""
    compared = [row for row in report.rows if row.total.differing is not None]
    if not compared:
        return []
    if not report.differing:
        return ["", f"No code differs in the {len(compared)} values that have codes in both."]
    lines = [""]
    if report.first_parting is not None:
        lines += _wrapped(f"First parting: {report.first_parting}")
    counted = sorted(report.causes().items(), key=lambda item: -item[1])
    lines += _wrapped("Causes (of the elements looked at): " + ", ".join(f"{name} {count}" for name, count in counted) + ".")
    return lines


def _wrapped(text: str) -> list[str]:
    """Lines of at most `WIDTH`, broken at blanks."""
    lines, line = [], ""
    for part in text.split(" "):
        if line and len(line) + 1 + len(part) > WIDTH:
            lines.append(line)
            line = "  " + part
        else:
            line = f"{line} {part}" if line else part
    return [*lines, line]
