"""The lecture's table in words and as CSV; every sentence is computed from the numbers it speaks of.

With this module one can read a table (`table_text`) and hand it on (`table_csv`, `seeds_csv`).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from tinyquant.study.published import PUBLISHED, PUBLISHED_IMAGES, SHARES, worth
from tinyquant.study.table import CLAIMS, HEADLINE, Claim, Row, surprises
from tinyquant.study.table_runs import ARMS, EXTRA, USUAL_WIDTH

__all__ = ["seeds_csv", "table_csv", "table_text"]

_HEADS = ("float", "PTQ", "QAT", "float +", "PTQ of")
_BELOW = ("", "", "", "epochs", "that")


def table_text(rows: Sequence[Row]) -> str:
    """The whole answer, some 110 columns wide."""
    parts = [_means(rows), _differences(rows, HEADLINE), _claims(rows), _surprises(rows), _published()]
    return "\n\n".join(parts) + "\n"


def table_csv(rows: Sequence[Row]) -> str:
    """One line a network and width: means in percent, differences in points with the ends of their intervals."""
    head = ["network", "weight_bits", "seeds", "images", *(f"{arm}_percent" for arm in ARMS)]
    for claim in CLAIMS:
        name = _minus(claim)
        head += [f"{name}_points", f"{name}_low", f"{name}_high", f"{name}_verdict"]
    lines: list[list[object]] = [[*head]]
    for row in rows:
        line: list[object] = [row.network, row.bits, row.seeds, row.images]
        line += [f"{100 * mean:.4f}" for mean in row.accuracies.mean(axis=0)]
        for claim in CLAIMS:
            found = row.compare(claim)
            line += [f"{100 * end:.4f}" for end in (found.student.value, found.student.low, found.student.high)]
            line.append(found.verdict)
        lines.append(line)
    return _csv(lines)


def seeds_csv(rows: Sequence[Row]) -> str:
    """One line a network, width and seed: how many test images each of the five networks has right."""
    lines: list[list[object]] = [["network", "weight_bits", "seed", "images", *(f"{arm}_right" for arm in ARMS)]]
    for row in rows:
        for seed, right in enumerate(row.right.sum(axis=2), row.first_seed):
            lines.append([row.network, row.bits, seed, row.images, *map(int, right)])
    return _csv(lines)


def _means(rows: Sequence[Row]) -> str:
    """The five columns and the drop."""
    above = "".join(f"{head:>9}{'drop':>8}" if head == "PTQ" else f"{head:>9}" for head in _HEADS)
    below = "".join(f"{word:>9}{'points':>8}" if head == "PTQ" else f"{word:>9}" for head, word in zip(_HEADS, _BELOW))
    lines = [f"{'network':<17}{'seeds':>6}{above}", f"{'':<17}{'':>6}{below}"]
    for row in rows:
        means = 100 * row.accuracies.mean(axis=0)
        drop = means[0] - means[1]
        numbers = "".join(f"{mean:>9.2f}" + (f"{drop:>8.2f}" if arm == "ptq" else "") for arm, mean in zip(ARMS, means))
        lines.append(f"{row.name:<17}{row.seeds:>6}{numbers}")
    images = _range({row.images for row in rows})
    extra = ", ".join(f"{network} {EXTRA[network]['epochs']}" for network in dict.fromkeys(row.network for row in rows))
    first = rows[0].first_seed
    last = first + max(row.seeds for row in rows) - 1
    lines += [
        "",
        f"Mean accuracy in percent; digits, {images} test images a seed; the quantized columns are integer networks.",
        "PTQ as a converter does it: smallest and largest number are the range, a channel's weights have a scale of their own.",
        f"QAT trains on for some epochs ({extra}). The control trains on as long in float, and is then quantized (PTQ of that).",
        f"Seeds {first} to {last}: no setting was chosen by them. A seed s has its own weights, batches, and split (s mod 10).",
        "The ten splits cut the same 1,797 digits and overlap: two seeds share test images. So an interval says what training",
        "again on these digits would give; for other digits it is too short.",
    ]
    widths = {row.width for row in rows if row.network != "mlp"}
    if widths:
        lines.append(f"The convolutional networks are {_range(widths)} channels wide at the stem; `models` builds {USUAL_WIDTH}.")
    return "\n".join(lines)


def _differences(rows: Sequence[Row], claim: Claim) -> str:
    """The headline, row by row."""
    lines = [f"What quantization-aware training is worth: {_minus(claim, ' - ')}, paired by seed (95 % t-interval over seeds)"]
    for row in rows:
        found = row.compare(claim)
        student = found.student
        ends = f"({100 * student.low:+.2f} to {100 * student.high:+.2f})"
        points = f"{100 * student.value:>+7.2f} {ends:<18} points"
        images = f"{row.images * student.value:>+7.1f} of {row.images} images"
        seeds = f"ahead in {found.ahead}, behind in {found.behind} of {row.seeds} seeds"
        lines.append(f"{row.name:<17}{points} ={images}; {seeds}: {found.verdict}")
    clear = {row.name: row.compare(claim).clear for row in rows}
    told = ", ".join(f"{name} {count}" for name, count in clear.items())
    lines.append(f"Seeds whose own images alone decide it (McNemar p < 0.05, over images): {told}.")
    return "\n".join(lines)


def _claims(rows: Sequence[Row]) -> str:
    """Which sentences survive, and for which rows."""
    lines = ["Which claims survive (95 % t-interval over seeds clear of zero):"]
    apart = []
    for claim in CLAIMS:
        by_verdict: dict[str, list[str]] = {}
        for row in rows:
            found = row.compare(claim)
            by_verdict.setdefault(found.verdict, []).append(f"{row.name} {100 * found.student.value:+.2f}")
            if found.bootstrap.side != found.student.side:
                apart.append(f"{claim.text}, {row.name}")
        for place, (verdict, names) in enumerate(sorted(by_verdict.items(), key=lambda item: item[0] != "shown")):
            label = claim.text if place == 0 else ""
            lines += _wrapped(f"  {label:<35}{verdict + ':':<23}", names)
    count = len(rows) * len(CLAIMS)
    lines.append(f"These are {count} intervals: at 95 % about {count / 20:.1f} of them miss the truth by luck alone.")
    agreed = "The paired bootstrap over seeds says the same everywhere."
    lines.append(agreed if not apart else f"The paired bootstrap over seeds decides otherwise for: {'; '.join(apart)}.")
    return "\n".join(lines)


def _surprises(rows: Sequence[Row]) -> str:
    """The two runs that the lecture's surprises are made of."""
    lines = ["Two surprises, found by a sweep: every run above was looked through, and the most striking is shown."]
    for text, better, worse in (("QAT loses to PTQ", "ptq", "qat"), ("QAT beats float", "qat", "float")):
        found = surprises(list(rows), better, worse)
        total = sum(row.seeds for row in rows)
        if found is None:
            lines.append(f"  {text:<18}in none of {total} runs.")
            continue
        accuracies = found.row.accuracies[found.seed]
        shown = (("float", "float"), ("PTQ", "ptq"), ("QAT", "qat"))
        told = ", ".join(f"{name} {100 * accuracies[ARMS.index(arm)]:.2f}" for name, arm in shown)
        lines.append(
            f"  {text:<18}{found.row.name}, seed {found.row.first_seed + found.seed} ({told}): "
            f"{found.test.images} of {found.row.images} images, McNemar p = {found.test.p:.2g}."
        )
        luck = min(1.0, found.test.p * found.of)
        worth_it = "clear all the same" if luck < 0.05 else "nothing that luck would not do"
        lines.append(
            f"{'':<20}{found.such} of {found.of} runs point this way; picked out of {found.of}, "
            f"p is at most {luck:.2g} (Bonferroni): {worth_it}."
        )
    return "\n".join(lines)


def _published() -> str:
    """The lecture's rows and what they are worth."""
    lines = [
        f"Published (ImageNet, {PUBLISHED_IMAGES:,} images, 8 bits; no seeds, no answers image by image, no control)",
        f"{'network':<23}{'float':>9}{'PTQ':>9}{'drop':>8}{'QAT':>9}",
    ]
    for row in PUBLISHED:
        lines.append(f"{row.network:<23}{row.float_:>9.2f}{row.ptq:>9.2f}{row.float_ - row.ptq:>8.2f}{row.qat:>9.2f}")
    lines.append("")
    shares = " / ".join(f"{100 * share:.0f} %" for share in SHARES)
    lines.append(
        f"Standard error over images: as if on separate images; or on the same ones, {shares} right under one of the two only"
    )
    for found in worth():
        paired = " / ".join(f"{error:.2f}" for error in found.paired)
        lines.append(
            f"  {found.network:<22}{found.what:<12}{found.points:>+6.2f}   {found.unpaired:.2f}; {paired}   {found.reading}"
        )
    kinds: dict[str, int] = {}
    for found in worth():
        kinds[found.reading] = kinds.get(found.reading, 0) + 1
    told = "; ".join(f"{count} {'is' if count == 1 else 'are'} {reading.split(':')[0]}" for reading, count in kinds.items())
    lines.append(f"Of {sum(kinds.values())} differences {told} (two standard errors).")
    for text, network, what in (("QAT beats float", 0, "QAT - float"), ("QAT loses to PTQ", 1, "QAT - PTQ")):
        one = next(w for w in worth() if (w.network, w.what) == (PUBLISHED[network].network, what))
        lines.append(f"The lecture's \"{text}\" ({one.network}, {one.points:+.2f}): {one.reading}.")
    lines.append("None of this is over seeds: what training again would give was not published.")
    return "\n".join(lines)


def _minus(claim: Claim, sign: str = "_minus_") -> str:
    """For example "qat_minus_float"."""
    if sign == "_minus_":
        return f"{claim.better}{sign}{claim.worse}"
    names = {"ptq_longer": "PTQ of the control", "qat": "QAT", "ptq": "PTQ", "float": "float", "longer": "float + epochs"}
    return f"{names[claim.better]}{sign}{names[claim.worse]}"


def _wrapped(start: str, names: Iterable[str], width: int = 118) -> list[str]:
    """Names after a start, in as many lines as they need."""
    lines, line = [], start
    for place, name in enumerate(list(names)):
        piece = name if place == 0 else f", {name}"
        if len(line) + len(piece) > width:
            lines.append(line + ",")
            line, piece = " " * len(start), name
        line += piece
    return [*lines, line]


def _range(counts: set[int]) -> str:
    """One number, or the smallest and the largest."""
    return str(min(counts)) if len(counts) == 1 else f"{min(counts)} to {max(counts)}"


def _csv(lines: list[list[object]]) -> str:
    """Comma-separated text with plain line ends."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(lines)
    return out.getvalue()
