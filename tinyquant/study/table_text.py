"""The lecture's table in words and as CSV; every sentence is computed from the numbers it speaks of.

With this module one can read a table (`table_text`) and hand it on (`table_csv`, `seeds_csv`).
"""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Iterable, Sequence

from tinyquant.analysis.over_seeds import t_interval
from tinyquant.study.published import PUBLISHED, PUBLISHED_IMAGES, worth
from tinyquant.study.table import CLAIMS, HEADLINE, Claim, Row, surprises
from tinyquant.study.table_runs import ARMS, EXTRA, USUAL_WIDTH

__all__ = ["seeds_csv", "table_csv", "table_text"]

_HEADS = ("float", "PTQ", "QAT", "float +", "PTQ of")
_BELOW = ("", "", "", "epochs", "that")
_COLUMNS = 105
_SOLID = "\xa0"
_PLAIN = next(claim for claim in CLAIMS if (claim.better, claim.worse) == ("qat", "ptq"))


def table_text(rows: Sequence[Row]) -> str:
    """The whole answer, some 105 columns wide."""
    parts = [_means(rows), _differences(rows), _claims(rows), _surprises(rows), _published(rows)]
    return "\n\n".join(parts) + "\n"


def table_csv(rows: Sequence[Row]) -> str:
    """One line a network and bits: means in percent, differences in points, each with the ends of its interval over seeds.

    width: channels of a convolutional network at the stem; empty for the MLP.
    """
    head = ["network", "width", "weight_bits", "seeds", "images"]
    head += [f"{arm}_{what}" for arm in ARMS for what in ("percent", "low", "high")]
    for claim in CLAIMS:
        name = _minus(claim)
        head += [f"{name}_points", f"{name}_low", f"{name}_high", f"{name}_verdict"]
    lines: list[list[object]] = [[*head]]
    for row in rows:
        line: list[object] = [row.network, _stem(row), row.bits, row.seeds, row.images]
        for arm in ARMS:
            mean = t_interval(row.column(arm))
            line += [f"{100 * end:.4f}" for end in (mean.value, mean.low, mean.high)]
        for claim in CLAIMS:
            found = row.compare(claim)
            line += [f"{100 * end:.4f}" for end in (found.student.value, found.student.low, found.student.high)]
            line.append(found.verdict)
        lines.append(line)
    return _csv(lines)


def seeds_csv(rows: Sequence[Row]) -> str:
    """One line a network, bits and seed: how many test images each of the five networks has right."""
    lines: list[list[object]] = [
        ["network", "width", "weight_bits", "seed", "images", *(f"{arm}_right" for arm in ARMS)]
    ]
    for row in rows:
        for seed, right in enumerate(row.right.sum(axis=2), row.first_seed):
            lines.append([row.network, _stem(row), row.bits, seed, row.images, *map(int, right)])
    return _csv(lines)


def _means(rows: Sequence[Row]) -> str:
    """The five columns and the drop."""
    above = "".join(f"{head:>14}{'drop':>8}" if head == "PTQ" else f"{head:>14}" for head in _HEADS)
    below = "".join(f"{word:>14}{'points':>8}" if head == "PTQ" else f"{word:>14}" for head, word in zip(_HEADS, _BELOW))
    lines = [f"{'network':<15}{'seeds':>6}{above}", f"{'':<15}{'':>6}{below}"]
    for row in rows:
        found = [t_interval(100 * row.column(arm)) for arm in ARMS]
        cells = [f"{f'{one.value:.2f} +-{one.half:.2f}':>14}" for one in found]
        cells[1] += f"{found[0].value - found[1].value:>8.2f}"
        lines.append(f"{row.name:<15}{row.seeds:>6}{''.join(cells)}")
    first = rows[0].first_seed
    last = first + max(row.seeds for row in rows) - 1
    images = _range({row.images for row in rows})
    extra = ", ".join(f"{network} {EXTRA[network]['epochs']}" for network in dict.fromkeys(row.network for row in rows))
    widths = {row.width for row in rows if row.network != "mlp"}
    told = [
        f"Accuracy in percent, mean over seeds, +-: 95 % t-interval over seeds. Digits, {images} test images a seed. "
        "W4A8: weights of 4 bits, activations of 8. The quantized columns are integer networks.",
        "PTQ as a converter does it: ranges from smallest to largest number, a scale for each channel of a weight.",
        f"QAT goes on from PTQ for some epochs ({extra}). The control trains as long in float (float + epochs), and is then "
        "quantized (PTQ of that).",
        f"Seeds {first} to {last}: no setting was chosen by them. Seed s has its own weights, batches, split (s mod 10).",
        "The ten splits cut the same 1,797 digits and overlap: two seeds share test images. So an interval says what training "
        "again on these digits would give; for other digits it is too short.",
    ]
    if widths:
        told.append(
            f"The convolutional networks are {_range(widths)} channels wide at the stem; `models` builds {USUAL_WIDTH}. "
            "QAT trains them with batch norms folded in; the control keeps its batch norms and trains them on."
        )
    return "\n".join([*lines, "", *(line for text in told for line in _filled(text))])


def _differences(rows: Sequence[Row]) -> str:
    """What training with quantization is worth, without the control and with it, row by row."""
    lines = [
        "What quantization-aware training is worth, paired by seed",
        f"{'':<17}{'points':>8}{'95 %, over seeds':>19}{'images':>16}{'seeds ahead / behind':>23}",
    ]
    for claim, text in ((_PLAIN, "PTQ without the extra epochs"), (HEADLINE, "what is left when the float network had them too")):
        lines.append(f"{_minus(claim, ' - ')}: {text}")
        for row in rows:
            found = row.compare(claim)
            points = 100 * found.student.value
            ends = f"{100 * found.student.low:+.2f} to {100 * found.student.high:+.2f}"
            images = f"{row.images * found.student.value:+.1f} of {row.images}"
            seeds = f"{found.ahead} / {found.behind}"
            lines.append(f"  {row.name:<15}{points:>+8.2f}{ends:>19}{images:>16}{seeds:>23}   {found.verdict}")
    headlines = [(row.name, row.compare(HEADLINE)) for row in rows]
    clear = ", ".join(f"{name} {found.clear_for} / {found.clear_against}".replace(" ", _SOLID) for name, found in headlines)
    lines += _filled(
        f"Seeds whose own images decide (McNemar, p < 0.05 over images) for QAT / for PTQ of the control: {clear}."
    )
    return "\n".join(lines)


def _claims(rows: Sequence[Row]) -> str:
    """Which sentences survive, and for which rows."""
    lines = ["Which claims survive (mean difference in points; shown: its 95 % t-interval over seeds is clear of 0)"]
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
    lines.append("Not shown does not mean equal: with more seeds (--seeds) an interval gets narrower.")
    agreed, differed = "The paired bootstrap over seeds says the same everywhere.", "The paired bootstrap decides otherwise for"
    lines += [agreed] if not apart else _filled(f"{differed}: {'; '.join(apart)}.")
    return "\n".join(lines)


def _surprises(rows: Sequence[Row]) -> str:
    """The two runs that the lecture's surprises are made of."""
    lines = ["Two surprises, found by a sweep: all runs above were looked through for the most striking one."]
    for text, better, worse in (("QAT loses to PTQ", "ptq", "qat"), ("QAT beats float", "qat", "float")):
        found = surprises(list(rows), better, worse)
        total = sum(row.seeds for row in rows)
        if found is None:
            lines.append(f"  {text:<18}in none of {total} runs.")
            continue
        accuracies = found.row.accuracies[found.seed]
        shown = (("float", "float"), ("PTQ", "ptq"), ("QAT", "qat"))
        told = ", ".join(f"{name} {100 * accuracies[ARMS.index(arm)]:.2f}" for name, arm in shown)
        lines += [
            f"  {text:<18}{found.row.name}, seed {found.row.first_seed + found.seed} ({told})",
            f"{'':<20}by {found.test.images} of {found.row.images} images, McNemar p = {found.test.p:.2g}.",
        ]
        luck = min(1.0, found.test.p * found.of)
        worth_it = "clear all the same" if luck < 0.05 else "nothing that luck would not do"
        lines.append(
            f"{'':<20}{found.such} of {found.of} runs point this way; picked out of {found.of}, "
            f"p is {luck:.2g} (Bonferroni): {worth_it}."
        )
    return "\n".join(lines)


def _published(rows: Sequence[Row]) -> str:
    """The lecture's rows and what they are worth."""
    lines = [
        f"Published (ImageNet, {PUBLISHED_IMAGES:,} images, 8 bits; no seeds, no answers image by image, no control)",
        f"{'network':<23}{'float':>9}{'PTQ':>9}{'drop':>8}{'QAT':>9}",
    ]
    for row in PUBLISHED:
        lines.append(f"{row.network:<23}{row.float_:>9.2f}{row.ptq:>9.2f}{row.float_ - row.ptq:>8.2f}{row.qat:>9.2f}")
    lines += [
        "",
        "What their differences are worth: clear where two standard errors over images do not reach 0. That depends on how",
        "many images differ, that is, are right under only one of the two networks. It was not published. It is at",
        "least the difference, and:",
        f"{'':<36}points{'as if independent':>20}{'at most':>10}",
    ]
    for found in worth():
        shares = f"{100 * found.independent:>18.1f} %{100 * found.most:>8.1f} %"
        lines.append(f"  {found.network:<22}{found.what:<12}{found.points:>+6.2f}{shares}   {found.reading}")
    errors = [f"{found.unpaired:.2f}" for found in worth()]
    lines += _filled(
        "As if independent: as if each accuracy had test images of its own, the usual standard error of "
        f"{min(errors)} to {max(errors)} points. Networks of one origin differ in less: QAT goes on from what PTQ quantizes."
    )
    ours = [
        f"{row.network} {_differ(row, 'qat', 'ptq')} and {_differ(row, 'qat', 'float')} "
        f"(errors {100 - 100 * float(row.column('float').mean()):.1f} %)".replace(" ", _SOLID)
        for row in rows
        if row.bits == 8
    ]
    if ours:
        lines += _filled(f"Of our images, at 8 bits, so many differ between QAT and PTQ, QAT and float: {', '.join(ours)}.")
    kinds: dict[str, int] = {}
    for found in worth():
        kinds[found.verdict] = kinds.get(found.verdict, 0) + 1
    told = "; ".join(f"{count} {'is' if count == 1 else 'are'} {verdict}" for verdict, count in kinds.items())
    lines.append(f"Of {sum(kinds.values())} differences {told}.")
    for text, network, what in (("QAT beats float", 0, "QAT - float"), ("QAT loses to PTQ", 1, "QAT - PTQ")):
        one = next(w for w in worth() if (w.network, w.what) == (PUBLISHED[network].network, what))
        reading = one.reading.removeprefix("open: ")
        lines += _filled(f'The lecture\'s "{text}" ({one.network}, {one.points:+.2f}) {_SURE[one.verdict]}: {reading}.')
    lines.append("None of this is over seeds: what training again would give was not published.")
    return "\n".join(lines)


_SURE = {
    "clear": "is more than noise over images",
    "open": "cannot be told from noise with what was published",
    "noise": "is noise over images",
}


def _differ(row: Row, one: str, other: str) -> str:
    """The share of images that two networks of a row do not both have right or wrong, in percent."""
    apart = row.right[:, ARMS.index(one)] != row.right[:, ARMS.index(other)]
    return f"{100 * float(apart.mean()):.2f} %"


def _minus(claim: Claim, sign: str = "_minus_") -> str:
    """For example "qat_minus_float"."""
    if sign == "_minus_":
        return f"{claim.better}{sign}{claim.worse}"
    names = {"ptq_longer": "PTQ of the control", "qat": "QAT", "ptq": "PTQ", "float": "float", "longer": "float + epochs"}
    return f"{names[claim.better]}{sign}{names[claim.worse]}"


def _wrapped(start: str, names: Iterable[str], width: int = _COLUMNS) -> list[str]:
    """Names after a start, in as many lines as they need."""
    lines, line = [], start
    for place, name in enumerate(list(names)):
        piece = name if place == 0 else f", {name}"
        if len(line) + len(piece) > width:
            lines.append(line + ",")
            line, piece = " " * len(start), name
        line += piece
    return [*lines, line]


def _filled(text: str) -> list[str]:
    """A sentence in lines; no line ends at a solid blank."""
    return [line.replace(_SOLID, " ") for line in textwrap.wrap(text, _COLUMNS, subsequent_indent="  ")]


def _stem(row: Row) -> int | str:
    """Channels at the stem, where there is one."""
    return "" if row.network == "mlp" else row.width


def _range(counts: set[int]) -> str:
    """One number, or the smallest and the largest."""
    return str(min(counts)) if len(counts) == 1 else f"{min(counts)} to {max(counts)}"


def _csv(lines: list[list[object]]) -> str:
    """Comma-separated text with plain line ends."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(lines)
    return out.getvalue()
