"""The table: five networks a seed, sums that follow from single answers, and sentences that follow from the sums."""

from __future__ import annotations

import copy
import csv
import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tinyquant import data, models
from tinyquant.analysis.over_images import published_error
from tinyquant.cli import main
from tinyquant.quantization.calibrate import calibrate
from tinyquant.quantization.convert import convert
from tinyquant.quantization.prepare import quantize_model
from tinyquant.quantization.schemes import TFLITE_INT8
from tinyquant.study import table_runs
from tinyquant.study.kept import Kept
from tinyquant.study.published import PUBLISHED, PUBLISHED_IMAGES, PublishedRow, worth
from tinyquant.study.sweep import sweep
from tinyquant.study.table import CLAIMS, HEADLINE, Row, summarise, surprises
from tinyquant.study.table_runs import ARMS, FIRST_SEED, TablePlan, key, right_answers, run_seed
from tinyquant.study.table_text import seeds_csv, table_csv, table_text
from tinyquant.training import fit, predict

SHORT = {"epochs": 2, "lr": 1e-2}


def row(rights: dict[str, list[int]], images: int = 100, network: str = "mlp", bits: int = 8) -> Row:
    """A row with so many right answers, the first ones, in each column and seed."""
    seeds = len(next(iter(rights.values())))
    right = np.zeros((seeds, len(ARMS), images), bool)
    for place, arm in enumerate(ARMS):
        for seed in range(seeds):
            right[seed, place, : rights.get(arm, [90] * seeds)[seed]] = True
    return Row(network, bits, right)


def test_a_seed_gives_the_answers_of_its_five_networks():
    """All five made again by hand, answer by answer."""
    found = run_seed("mlp", 3, (8, 3), SHORT, SHORT)
    assert sorted(found) == [key("mlp", 3, 3), key("mlp", 3, 8)]
    (x, y), (xt, yt) = data.digits(split=3)
    model = models.build("mlp", seed=3)
    fit(model, x, y, **SHORT, seed=3)
    right = predict(model, xt).argmax(axis=1) == yt
    longer = copy.deepcopy(model)
    fit(longer, x, y, **SHORT, seed=1003)
    for bits in (8, 3):
        outcome = found[key("mlp", 3, bits)]
        fq = quantize_model(model, calibrate(model, x[:512]), scheme=TFLITE_INT8.replace(weight_bits=bits))
        np.testing.assert_array_equal(right_answers(outcome, "float"), right)
        np.testing.assert_array_equal(right_answers(outcome, "ptq"), convert(fq)(xt).argmax(axis=1) == yt)
        fit(fq, x, y, **SHORT, seed=1003)
        np.testing.assert_array_equal(right_answers(outcome, "qat"), convert(fq)(xt).argmax(axis=1) == yt)
        np.testing.assert_array_equal(right_answers(outcome, "longer"), predict(longer, xt).argmax(axis=1) == yt)
        control = convert(quantize_model(longer, calibrate(longer, x[:512]), scheme=TFLITE_INT8.replace(weight_bits=bits)))
        np.testing.assert_array_equal(right_answers(outcome, "ptq_longer"), control(xt).argmax(axis=1) == yt)
        assert outcome["split"] == 3 and outcome["images"] == len(yt) == right_answers(outcome, "qat").size
    assert json.loads(json.dumps(found)) == found


def test_a_seed_repeats_itself_and_a_width_alone_gives_what_it_gives_among_others():
    assert run_seed("mlp", 1, (4,), SHORT, SHORT)[key("mlp", 1, 4)] == run_seed("mlp", 1, (8, 4), SHORT, SHORT)[key("mlp", 1, 4)]


@pytest.mark.parametrize("network", ["resnet", "mobilenet"])
def test_the_convolutional_networks_are_narrow_and_the_text_says_so(network):
    for width in (3, table_runs.WIDTH):
        assert table_runs._network(network, 0, width)[0].conv.weight.shape[0] == width
    assert models.build(network)[0].conv.weight.shape[0] == table_runs.USUAL_WIDTH > table_runs.WIDTH
    assert f"{table_runs.WIDTH} channels wide" in table_text([row({"qat": [90, 91]}, network=network)])
    assert "batch norms folded in" in table_text([row({"qat": [90, 91]}, network=network)])
    assert "channels wide" not in table_text([row({"qat": [90, 91]})])


def test_a_plan_runs_what_is_missing_and_the_long_ones_first():
    plan = TablePlan.of(("mlp", "resnet"), seeds=2, bits=(8, 4))
    kept = Kept(None, "table", plan.settings)
    assert [task.label for task in plan.tasks(kept)][:2] == ["resnet seed 5000", "resnet seed 5001"]
    done = {"images": 8, **dict.fromkeys(ARMS, "ff")}
    kept.add({key("mlp", 5000, 8): done, key("mlp", 5000, 4): done, key("mlp", 5001, 4): done})
    (left,) = [task for task in plan.tasks(kept) if task.label.startswith("mlp")]
    assert left.arguments[:3] == ("mlp", 5001, (8,)) and left.arguments[-1] == table_runs.WIDTH


def test_no_seed_of_the_table_chose_a_setting_and_the_text_says_what_is_fresh():
    """Tuning seeds are below 200, and so are those of their extra epochs less 1000; the digits themselves are the same."""
    plan = TablePlan.of()
    used = {seed for network in plan.networks for seed in plan.seeds_of(network)}
    assert not used & set(range(200)) and not used & set(range(1000, 1200)) and min(used) == FIRST_SEED == 5000
    assert {seed % 10 for seed in list(plan.seeds_of("mlp"))[:10]} == set(range(10))
    text = table_text([row({"qat": [90, 91]})])
    assert "Seeds 5000 to 5001: no setting was chosen by them." in text
    assert "The ten splits cut the same 1,797 digits and overlap" in text


def test_the_usual_plan_is_the_one_that_was_promised():
    plan = TablePlan.of()
    assert plan.seeds == {"mlp": 30, "resnet": 5, "mobilenet": 5}
    assert plan.bits == {"mlp": (8, 3, 2), "resnet": (8, 4), "mobilenet": (8, 4)}


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"networks": ("mlp", "vgg")}, "networks must be some of mlp, resnet, mobilenet, got mlp, vgg"),
        ({"networks": ()}, "got none"),
        ({"seeds": 1}, "seeds must be 2 or more, got 1"),
        ({"bits": (8, 9)}, "bits must be widths from 2 to 8, each once, got 8, 9"),
        ({"bits": (8, 8)}, "each once"),
        ({"width": 0}, "width must be 1 or more, got 0"),
    ],
)
def test_a_plan_refuses_what_cannot_be_run(arguments, message):
    with pytest.raises(ValueError, match=message):
        TablePlan.of(**arguments)


# Sums


def test_a_comparison_counts_seeds_images_and_clear_tests():
    made = row({"qat": [95, 90, 90, 99], "ptq_longer": [90, 90, 91, 90]})
    found = made.compare(HEADLINE)
    assert (found.ahead, found.behind, found.level) == (2, 1, 1)
    assert found.student.value == pytest.approx(0.13 / 4) and found.bootstrap.value == pytest.approx(0.13 / 4)
    assert (found.clear_for, found.clear_against) == (1, 0)  # 2 / 2**9 for nine images of one sign; 2 / 2**5 is above 0.05


def test_seeds_that_decide_for_and_against_are_counted_apart():
    """2 / 2**6 is below 0.05, 2 / 2**5 above: one seed for, two against, two undecided."""
    made = row({"qat": [96, 84, 80, 95, 85], "ptq_longer": [90] * 5})
    found = made.compare(HEADLINE)
    assert (found.clear_for, found.clear_against, found.ahead, found.behind) == (1, 2, 2, 3)
    lines = table_text([made, row({"qat": [80, 80]}, bits=4)]).splitlines()
    place = next(k for k, line in enumerate(lines) if line.startswith("Seeds whose own images decide"))
    assert lines[place : place + 2] == [
        "Seeds whose own images decide (McNemar, p < 0.05 over images) for QAT / for PTQ of the control:",
        "  mlp W8A8 1 / 2, mlp W4A8 0 / 2.",
    ]


def test_gains_and_losses_that_cancel_are_zero_to_the_last_bit():
    """A sum of fractions of 450 would leave 1e-17, with a sign."""
    found = row({"qat": [91, 89, 93, 87, 90, 90, 97, 83]}, images=450).compare(HEADLINE)
    assert found.student.value == found.bootstrap.value == 0.0 and found.student.low == -found.student.high


@pytest.mark.parametrize(
    "qat, verdict",
    [
        ([95, 96, 95, 96], "shown"),
        ([85, 84, 85, 84], "the opposite is shown"),
        ([91, 89, 92, 90], "not shown"),
        ([90] * 4, "no difference"),
        ([91] * 4, "every seed alike"),
    ],
)
def test_a_verdict_follows_the_interval(qat, verdict):
    assert row({"qat": qat}).compare(HEADLINE).verdict == verdict


def test_surprises_are_the_most_striking_of_all_runs_and_none_where_there_is_none():
    rows = [row({"qat": [91, 92]}), row({"qat": [90, 97]}, bits=4)]
    found = surprises(rows, "qat", "float")
    assert found is not None and (found.row.bits, found.seed, found.test.images, found.such, found.of) == (4, 1, 7, 3, 4)
    assert surprises(rows, "float", "qat") is None


# The announced run


# Value, low and high in points: QAT - PTQ, and QAT - PTQ of the control.
ANNOUNCED = {
    (6, "resnet"): ((1.27, 0.81, 1.72), (1.53, 0.79, 2.28)),
    (6, "mobilenet"): ((2.44, 0.91, 3.98), (2.36, 0.12, 4.59)),
    (16, "resnet"): ((0.47, 0.10, 0.83), (0.33, 0.05, 0.62)),
    (16, "mobilenet"): ((0.84, 0.49, 1.20), (0.93, 0.35, 1.52)),
}


@pytest.mark.parametrize("width, network", ANNOUNCED)
def test_the_announced_run_gave_what_is_reported_of_it(width, network):
    """Kept seed by seed as it came out, with the settings of today's plan; both gains are clear of zero everywhere."""
    plan = TablePlan.of((network,), seeds=10, bits=(4,), width=width)
    kept = Kept(Path(__file__).parent / "data" / "study" / f"w4_width{width}.json", "table", plan.settings)
    (made,) = summarise(kept, plan)
    for told, claim in zip(ANNOUNCED[width, network], (CLAIMS[1], HEADLINE), strict=True):
        found = made.compare(claim).student
        assert tuple(round(100 * end, 2) for end in (found.value, found.low, found.high)) == told
        assert found.side == 1 and (claim.better, claim.worse[:3]) == ("qat", "ptq")


# Words


def test_every_claim_is_sorted_by_what_the_rows_show():
    rows = [row({"ptq": [80, 81, 80]}), row({"ptq": [90, 89, 91]}, bits=4), row({"ptq": [95, 96, 96]}, bits=2)]
    text = table_text(rows)
    lines = [line.strip() for line in text.splitlines()]
    start = next(k for k, line in enumerate(lines) if line.startswith("PTQ costs accuracy"))
    assert lines[start : start + 3] == [
        "PTQ costs accuracy                 shown:                 mlp W8A8 +9.67",
        "not shown:             mlp W4A8 +0.00",
        "the opposite is shown: mlp W2A8 -5.67",
    ]
    assert "These are 15 intervals: at 95 % about 0.8" in text and text.isascii()
    assert max(map(len, text.splitlines())) <= 130


def test_every_accuracy_and_both_gains_have_their_interval_over_seeds():
    """The gain over PTQ is what the lecture shows; over PTQ of the control, what is left of it."""
    text = table_text([row({"float": [95, 96, 97], "qat": [95, 96, 97], "ptq": [90, 91, 92], "ptq_longer": [92, 93, 95]})])
    (means,) = [line for line in text.splitlines() if line.startswith("mlp W8A8  ")]
    assert means.split()[2:8] == ["3", "96.00", "+-2.48", "91.00", "+-2.48", "5.00"]
    gains = [line.split() for line in text.splitlines() if line.startswith("  mlp W8A8  ")]
    assert [gain[2] for gain in gains] == ["+5.00", "+2.67"]
    assert gains[1][3:] == ["+1.23", "to", "+4.10", "+2.7", "of", "100", "3", "/", "0", "shown"]
    assert "QAT - PTQ of the control: what is left when the float network had them too" in text


def test_the_surprises_are_said_to_be_found_by_a_sweep_with_their_price():
    text = table_text([row({"qat": [97, 90, 89], "ptq": [90, 90, 90]})])
    assert "found by a sweep" in text
    assert "mlp W8A8, seed 5000 (float 90.00, PTQ 90.00, QAT 97.00)\n" in text
    assert "by 7 of 100 images, McNemar p = 0.016.\n" in text
    assert "1 of 3 runs point this way; picked out of 3, p is 0.047 (Bonferroni): clear all the same." in text
    assert "in none of 2 runs" in table_text([row({"qat": [90, 90]})])


def test_the_bootstrap_agrees_or_is_said_to_decide_otherwise():
    """Of four gains 1, 1, 1, 9 Student's interval reaches 0, and no drawn mean does; of 1, 2, 2, 1 neither does."""
    agreed = "The paired bootstrap over seeds says the same everywhere."
    same, apart = row({"qat": [91, 92, 92, 91]}), row({"qat": [91, 91, 91, 99], "float": [95] * 4}, bits=4)
    text = table_text([same])
    assert agreed in text.splitlines() and "decides otherwise" not in text
    lines = table_text([same, apart]).splitlines()
    place = next(k for k, line in enumerate(lines) if line.startswith("The paired bootstrap"))
    assert agreed not in lines and lines[place : place + 3] == [
        "The paired bootstrap decides otherwise for: QAT beats PTQ, mlp W4A8; QAT beats float + the same epochs,",
        "  mlp W4A8; QAT beats PTQ of the control, mlp W4A8.",
        "",
    ]


def test_the_published_rows_stand_beside_with_what_they_are_worth():
    """Three differences are clear whatever was not published; the lecture's two are open, and each says what would decide."""
    assert [tuple(published)[1:] for published in PUBLISHED] == [
        (71.03, 69.57, 71.06),
        (70.77, 70.20, 70.01),
        (76.30, 75.95, 76.10),
    ]
    every = "clear, however many images differ"
    assert [w.reading for w in worth()] == [
        every, every, "open: clear if under 0.11 % of images differ",
        "open: clear if under 40.6 % of images differ", "open: clear if under 4.5 % of images differ", every,
        "open: clear if under 15.3 % of images differ", "open: clear if under 2.8 % of images differ",
        "open: clear if under 5.0 % of images differ",
    ]  # fmt: skip
    right = row({"qat": [90, 91], "ptq": [88, 90], "float": [90, 90]})
    lines = table_text([right, row({"qat": [90, 91]}, bits=4)]).splitlines()
    place = next(k for k, line in enumerate(lines) if line.startswith("As if independent"))
    assert lines[place - 5] == (
        "  MobileNet v2 1.0 224  QAT - PTQ    -0.19              41.9 %    59.8 %   open: clear if under 4.5 % of images differ"
    )
    assert lines[place:-1] == [
        "As if independent: as if each accuracy had test images of its own, the usual standard error of 0.27 to",
        "  0.29 points. Networks of one origin differ in less: QAT goes on from what PTQ quantizes.",
        "Of our images, at 8 bits, so many differ between QAT and PTQ, QAT and float:",
        "  mlp 1.50 % and 0.50 % (errors 10.0 %).",
        "Of 9 differences 3 are clear; 6 are open.",
        'The lecture\'s "QAT beats float" (MobileNet v1 1.0 224, +0.03) cannot be told from noise with what was',
        "  published: clear if under 0.11 % of images differ.",
        'The lecture\'s "QAT loses to PTQ" (MobileNet v2 1.0 224, -0.19) cannot be told from noise with what was',
        "  published: clear if under 4.5 % of images differ.",
    ]
    assert "Of our images" not in table_text([row({"qat": [90, 91]}, bits=4)])


def test_a_published_difference_stops_being_clear_at_the_share_it_names():
    """There two standard errors are the difference itself; independent errors give the error of two sets of images."""
    for found in worth():
        row_ = next(one for one in PUBLISHED if one.network == found.network)
        before, after = (
            {"float": row_.float_, "PTQ": row_.ptq, "QAT": row_.qat}[name] / 100 for name in reversed(found.what.split(" - "))
        )
        assert 100 * (after - before) == pytest.approx(found.points, rel=1e-9) and found.least == abs(after - before)
        assert 100 * published_error(before, after, PUBLISHED_IMAGES, differ=found.independent) == pytest.approx(found.unpaired)
        if found.clear_below <= 1:
            edge = published_error(before, after, PUBLISHED_IMAGES, differ=found.clear_below)
            assert 200 * edge == pytest.approx(abs(found.points))
        # Most differ when nobody's errors are the other's: the errors of both.
        assert found.most == pytest.approx((1 - before) + (1 - after))


@pytest.mark.parametrize(
    "accuracies, images, verdict",
    [
        # Of 100 images 3, 4 and 5 more: with d of n = 100 images, d^2 (1 + 25) / 100^2 against d / 100 and all 20 errors.
        ((90, 87), 100, "noise"),  # 0.0234 < 0.03
        ((90, 86), 100, "open"),  # 0.04 < 0.0416 < 0.24
        ((92, 88), 100, "open"),
        ((93, 84), 100, "open"),  # 0.2076 < 0.2106 < 0.23: clear even if independent, and not at the most
        ((96, 86), 100, "clear"),  # 0.26 > 0.18
        ((5, 2), 200, "open"),  # 0.0459 < 0.07, the most if few are right: all of them
        ((5, 1), 200, "clear"),  # 0.0816 > 0.06
    ],
)
def test_a_published_difference_is_clear_open_or_noise_by_the_shares_there_can_be(accuracies, images, verdict):
    before, after = accuracies
    found = worth([PublishedRow("net", before, before, after)], images)[2]
    assert found.verdict == verdict and found.reading.startswith(verdict)
    # The same in whole images: `gained` only the second has right, and as many more as it is behind only the first.
    right, behind = before * images // 100, (before - after) * images // 100
    clear = set()
    for gained in range(min(images - right, right - behind) + 1):
        differ = behind + 2 * gained
        clear.add(images * behind**2 > 4 * (images * differ - behind**2))
    assert verdict == {(True,): "clear", (False, True): "open", (False,): "noise"}[tuple(sorted(clear))]


def test_the_csv_says_what_the_rows_hold():
    made = row({"qat": [95, 96, 97]}, network="resnet", bits=4)
    (line,) = csv.DictReader(io.StringIO(table_csv([made])))
    assert list(line.items())[:5] == [
        ("network", "resnet"), ("width", "6"), ("weight_bits", "4"), ("seeds", "3"), ("images", "100"),
    ]  # fmt: skip
    wide, perceptron = dataclasses.replace(made, width=16), dataclasses.replace(made, network="mlp", width=16)
    for text in (table_csv([wide, perceptron]), seeds_csv([wide, perceptron])):
        rows = list(csv.DictReader(io.StringIO(text)))
        assert {one["network"]: one["width"] for one in rows} == {"resnet": "16", "mlp": ""}
    assert float(line["qat_percent"]) == 96.0 and float(line["qat_minus_ptq_longer_points"]) == pytest.approx(6.0)
    assert line["qat_minus_ptq_longer_verdict"] == "shown" and len(line) == 5 + 3 * len(ARMS) + 4 * len(CLAIMS)
    # Student's t at two degrees of freedom is 4.3027; the deviation of 95, 96, 97 is 1.
    assert float(line["qat_high"]) - float(line["qat_low"]) == pytest.approx(2 * 4.3027 / 3**0.5, abs=1e-3)
    seeds = list(csv.DictReader(io.StringIO(seeds_csv([made]))))
    assert [seed["qat_right"] for seed in seeds] == ["95", "96", "97"]


# The whole command


def test_the_command_runs_what_is_missing_and_prints_the_same_table_again(tmp_path, capsys, monkeypatch):
    """Two seeds, shortened; the second call trains nothing, the third only the new seed."""
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.setattr(table_runs, "RECIPES", {"mlp": SHORT})
    monkeypatch.setattr(table_runs, "EXTRA", {"mlp": SHORT})
    command = ["study", "table", "--networks", "mlp", "--bits", "8,2", "--jobs", "1", "--out", str(tmp_path)]
    printed = []
    for seeds, runs in (("2", "2 of 2 runs"), ("2", ""), ("3", "1 of 1 runs")):
        assert main([*command, "--seeds", seeds]) == 0
        out, err = capsys.readouterr()
        printed.append(out)
        assert runs in err if runs else not err
    assert printed[0] == printed[1] and "mlp W2A8" in printed[0]
    assert (tmp_path / "table.txt").read_text() in printed[2]
    assert (tmp_path / "table.csv").read_text().count("\n") == 3 and (tmp_path / "seeds.csv").read_text().count("\n") == 7


def test_results_of_other_settings_are_not_mixed_in(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    Kept(tmp_path / "table.json", "table", {}).add({})
    assert main(["study", "table", "--networks", "mlp", "--out", str(tmp_path)]) == 3
    assert "must have been made with settings" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change, message",
    [
        ({"qat": None}, "an outcome must have the answers of qat as hexadecimal bits, got none."),
        ({"qat": 5}, "an outcome must have the answers of qat as hexadecimal bits, got 5."),
        ({"qat": "fg"}, "an outcome must have the answers of qat as hexadecimal bits, got 'fg'."),
        ({"ptq": "ff"}, "the answers of ptq must be one bit for each of 12 images and 0 to the end of the last byte, "
                        "got 8 bits, 'ff'."),
        ({"ptq": "ffffff"}, "got 24 bits, 'ffffff'."),
        ({"ptq": "ffff"}, "got 16 bits, 'ffff'."),
        ({"images": None}, "an outcome must have its number of images, got None."),
        ({"images": True}, "an outcome must have its number of images, got True."),
        ({"images": 0}, "an outcome must have its number of images, got 0."),
    ],
)  # fmt: skip
def test_a_damaged_entry_is_named_with_its_file_and_what_to_do(tmp_path, capsys, monkeypatch, change, message):
    """Before anything is run: answers that are missing, too short, too long, or of more images than there are."""
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.setattr(table_runs, "fit", None)
    plan, path = TablePlan.of(("mlp",), seeds=3, bits=(8,)), tmp_path / "table.json"
    whole = {"images": 12, **dict.fromkeys(ARMS, "fff0")}
    assert right_answers(whole, "qat").tolist() == [True] * 12
    damaged = {name: value for name, value in (whole | change).items() if value is not None}
    kept = Kept(path, "table", plan.settings)
    kept.add({key("mlp", 5000, 8): whole, key("mlp", 5001, 8): damaged})
    assert main(["study", "table", "--networks", "mlp", "--bits", "8", "--seeds", "3", "--out", str(tmp_path)]) == 3
    said = capsys.readouterr().err
    assert said.startswith(f"tinyquant: {path}, entry 'mlp W8A8 seed 5001': ") and f"{message} Delete the entry, or move" in said
    with pytest.raises(ValueError, match="entry 'mlp W8A8 seed 5001'"):
        summarise(kept, plan)


def test_seeds_of_other_test_sets_are_not_summed_up():
    plan = TablePlan.of(("mlp",), seeds=2, bits=(8,))
    kept = Kept(None, "table", plan.settings)
    kept.add({key("mlp", 5000 + n, 8): {"images": 12 - n, **dict.fromkeys(ARMS, "ffe0")} for n in (0, 1)})
    with pytest.raises(ValueError, match="all seeds of mlp W8A8 must have equally many images, got 11 and 12"):
        summarise(kept, plan)


@pytest.mark.parametrize("inside", ["", "sub"])
@pytest.mark.parametrize("study", ["table", "acceptable", "shapes"])
def test_a_file_where_the_folder_should_be_is_named(tmp_path, capsys, monkeypatch, study, inside):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    (tmp_path / "somefile").write_text("mine")
    out = tmp_path / "somefile" / inside
    assert main(["study", study, "--out", str(out)]) == 3
    assert capsys.readouterr().err == (
        f"tinyquant: --out must be a folder, got {out}: {tmp_path / 'somefile'} is a file. Name another.\n"
    )
    assert (tmp_path / "somefile").read_text() == "mine"


def test_what_differs_in_the_settings_is_named_and_nothing_else(tmp_path):
    """A whole plan is a screen of JSON; who meets this needs the one number."""
    old = TablePlan.of(width=8).settings | {"extra": {**table_runs.EXTRA, "resnet": table_runs.EXTRA["resnet"] | {"epochs": 5}}}
    Kept(tmp_path / "t.json", "table", old | {"rows": 512}).add({})
    want, got = "extra resnet epochs 10, rows (none), width 6", "extra resnet epochs 5, rows 512, width 8"
    with pytest.raises(ValueError) as caught:
        Kept(tmp_path / "t.json", "table", TablePlan.of().settings)
    assert f"must have been made with settings {want}, got {got}. Move" in str(caught.value)


def test_another_width_has_files_of_its_own(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.setattr(table_runs, "RECIPES", {"mobilenet": SHORT})
    monkeypatch.setattr(table_runs, "EXTRA", {"mobilenet": SHORT})
    command = ["study", "table", "--networks", "mobilenet", "--bits", "8", "--seeds", "2", "--width", "2", "--jobs", "1"]
    assert main([*command, "--out", str(tmp_path)]) == 0
    out, _ = capsys.readouterr()
    made = ["seeds_width2.csv", "table_width2.csv", "table_width2.json", "table_width2.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == made
    assert "2 channels wide at the stem" in out and "table_width2.txt, table_width2.csv, seeds_width2.csv" in out


@pytest.mark.skipif(sys.platform == "win32", reason="its processes know no signals")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGKILL"])
def test_the_command_that_is_killed_ends_with_all_its_processes(tmp_path, name):
    """The one that was started, the one with one thread, and its two: nobody holds the output, and what was found can be read."""
    out, plan = tmp_path / "out", TablePlan.of(("mlp",), seeds=200, bits=(8,))
    kept = Kept(out / "table.json", "table", plan.settings)
    command = ["study", "table", "--networks", "mlp", "--bits", "8", "--seeds", "200", "--jobs", "2", "--out", str(out)]
    environment = {setting: value for setting, value in os.environ.items() if not setting.endswith("_THREADS")}
    out.mkdir()
    kept.add({key("mlp", 5000, 8): {"images": 8, **dict.fromkeys(ARMS, "ff")}})
    run = subprocess.Popen(
        [sys.executable, "-m", "tinyquant", *command], cwd=Path(__file__).parents[1], env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        assert run.stderr is not None and "0 of 199 runs" in run.stderr.readline()
        run.send_signal(getattr(signal, name))
        run.communicate(timeout=30)
    except (AssertionError, subprocess.TimeoutExpired):
        os.killpg(run.pid, signal.SIGKILL)
        raise
    assert run.returncode == -getattr(signal, name)
    assert key("mlp", 5000, 8) in Kept(out / "table.json", "table", plan.settings).results


def test_wrong_usage_is_said_so(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    assert main(["study", "table", "--networks", "vgg", "--out", str(tmp_path)]) == 3
    assert "networks must be some of" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["study", "table", "--bits", "eight"])
    assert "must be whole numbers with commas between them, such as 8,4, got 'eight'" in capsys.readouterr().err


def test_summaries_need_every_seed():
    plan = TablePlan(("mlp",), {"mlp": 2}, {"mlp": (8,)}, {"mlp": SHORT}, {"mlp": SHORT})
    kept = Kept(None, "table", plan.settings)
    sweep(run_seed, plan.tasks(kept)[:1], kept, jobs=1)
    with pytest.raises(KeyError, match="seed 5001"):
        summarise(kept, plan)
