"""The glossary: every example prints what stands there, every entry fits one screen, a misspelt word finds its entry."""

from __future__ import annotations

import doctest
import re
from collections import Counter
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

import tinyquant as tq
from tinyquant.labs.glossary import TERMS, Term, define, terms
from tinyquant.labs.sittings import sittings
from tinyquant.labs.sources import source
from tinyquant.numerics.rounding import ROUNDING_MODES

TUTORIALS = Path(__file__).resolve().parent.parent / "tutorials"

ENTRIES = [pytest.param(entry, id=name) for name, entry in TERMS.items()]

ASKED_FOR = """
scale, zero point, code, step, LSB, affine map, quantize, dequantize, qmin, qmax, saturate, clipping error, rounding
error, tie, half_even, half_away, stochastic rounding, symmetric, narrow range, per tensor, per channel, range,
observer, calibrate, min-max, percentile, EMA, PTQ, QAT, fake-quant, STE, surrogate gradient, LSQ, accumulator,
multiplier, shift, requantize, double rounding, bias, batch norm folding, dialect, TFLite Micro, int8, W4A8, SQNR,
error budget, saturation, confidence interval, control, paired difference, McNemar, sign test, recall, threshold, MAC,
latency, portability, tflite, converter, law, smallest input, rounding, half_down, floor, toward_zero, ReLU, padding,
softmax, points, lookup table, NaN, standardise, weight, epoch, learning rate, gradient, backpropagation, mse
"""


@pytest.mark.parametrize("entry", ENTRIES)
def test_every_example_prints_what_stands_there(entry: Term) -> None:
    """As in an interactive session, with numpy as np and tinyquant as tq."""
    if not entry.example:
        return
    example = doctest.DocTestParser().get_doctest(
        f"{entry.example}\n", {"np": np, "tq": tq}, entry.name, None, 0
    )
    assert example.examples and example.examples[-1].want, "an example ends with what it prints"
    said: list[str] = []
    failed = doctest.DocTestRunner(verbose=False).run(example, out=said.append).failed
    assert not failed, "".join(said)


@pytest.mark.parametrize("entry", ENTRIES)
def test_every_entry_fits_one_screen_in_plain_characters(entry: Term) -> None:
    """At most 14 lines of 80 columns, ASCII; it begins with its name."""
    lines = define(entry.name).splitlines()
    assert len(lines) <= 14 and max(map(len, lines)) <= 80, "\n".join(lines)
    assert define(entry.name).isascii() and lines[0] == entry.name
    assert entry.words.endswith((".", ")"))


@pytest.mark.parametrize("entry", ENTRIES)
def test_every_entry_points_only_at_others(entry: Term) -> None:
    assert set(entry.see) <= set(TERMS) - {entry.name}
    assert entry.see, "a reader who is here wants to go on"


def test_no_name_has_two_meanings() -> None:
    names = [
        name.lower().replace("-", " ").replace("_", " ") for e in TERMS.values() for name in (e.name, *e.also)
    ]
    assert [name for name, count in Counter(names).items() if count > 1] == []


def test_what_a_course_needs_is_there() -> None:
    for name in ASKED_FOR.replace("\n", " ").split(","):
        assert define(name.strip())
    assert len(terms()) >= 45 and terms()[:2] == ["scale", "zero point"]


@pytest.mark.parametrize("spelling", ["Zero Point", " zero-point ", "zero_point", "ZP"])
def test_case_and_hyphens_do_not_matter(spelling: str) -> None:
    assert define(spelling).startswith("zero point\n")


@pytest.mark.parametrize(
    ("spelling", "meant"),
    [("requantise", "requantize"), ("zero piont", "zero point"), ("accumlator", "accumulator")],
)
def test_a_misspelt_term_is_told_what_was_probably_meant(spelling: str, meant: str) -> None:
    with pytest.raises(ValueError, match=f"got '{spelling}'. Did you mean .*'{meant}'"):
        define(spelling)


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("error", "'clipping error' or 'rounding error' or 'error budget'"),
        ("channel", "'per channel'"),
        ("aware", "'QAT'"),
        ("noise", "'rounding error' or 'SQNR'"),
    ],
)
def test_a_word_of_some_terms_is_answered_with_those(word: str, meant: str) -> None:
    """Not with what is only spelt alike; each entry once, those first that are called so themselves."""
    with pytest.raises(ValueError, match=f"got '{word}'. Did you mean {re.escape(meant)}\\?$"):
        define(word)


MERELY_STRESSED = """
your one company after no acceptable every wins size model and during random these at doctor fewer other either each
""".split()
"""What pages and labs set in italics that is no term: plain words, and two that the page itself explains."""


def test_every_term_that_a_page_or_a_lab_sets_in_bold_or_italics_is_in_the_glossary() -> None:
    stressed = set()
    for text in (*(path.read_text(encoding="utf-8") for path in sorted(TUTORIALS.glob("0*.py"))), *map(source, sittings())):
        prose = "\n".join(line[2:] for line in text.splitlines() if line.startswith("# ") and not line.startswith("#     "))
        prose = re.sub(r"`[^`]*`", "", prose)
        stressed |= {bold or italic for bold, italic in re.findall(r"\*\*([^*]+)\*\*|(?<![\w*])\*([^*\n]+)\*(?!\w)", prose)}
    assert len(stressed) > 50 and {"scale", "bit", "tie"} <= stressed
    plain = {word.lower() for word in stressed}
    assert set(MERELY_STRESSED) <= plain, "a word that no page stresses any more"
    for term in plain - set(MERELY_STRESSED):
        assert define(" ".join(term.split()))


@pytest.mark.parametrize("mode", ROUNDING_MODES)
def test_every_rounding_rule_is_explained(mode: str) -> None:
    assert define(mode)


def test_a_term_like_no_other_lists_all() -> None:
    with pytest.raises(ValueError, match="All there are: tinyquant define"):
        define("xylophone")


def test_nothing_of_the_text_file_is_lost() -> None:
    """As many entries, fields and lines of examples as the file has; no field's name among the words."""
    text = resources.files("tinyquant.labs").joinpath("glossary.txt").read_text(encoding="utf-8")
    assert text.count("\n== ") == len(TERMS)
    for field in ("formula", "see", "elsewhere", "also"):
        assert text.count(f"\n{field}: ") == sum(bool(getattr(e, field)) for e in TERMS.values()), field
        assert not any(f"{field}:" in e.words.split() for e in TERMS.values()), field
    assert text.count("\n>>> ") == sum(
        line.startswith(">>> ") for e in TERMS.values() for line in e.example.splitlines()
    )
