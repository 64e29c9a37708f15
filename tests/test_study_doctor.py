"""Cat or cancer: thresholds and counts by hand, and sentences that follow from the counts."""

from __future__ import annotations

import csv
import io
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyquant import data
from tinyquant.cli import main, study
from tinyquant.models import mlp
from tinyquant.quantization.calibrate import calibrate
from tinyquant.quantization.prepare import quantize_model
from tinyquant.quantization.schemes import TFLITE_INT8
from tinyquant.study import doctor_runs
from tinyquant.study.doctor import NAMES, Doctors, all_counts, doctor_csv, doctor_text
from tinyquant.study.doctor_runs import DIGIT_BITS, run_doctor, threshold_for_recall
from tinyquant.training import fit, predict

SHORT = {
    "doctor": {"epochs": 8, "lr": 1e-2},
    "doctor_qat": {"epochs": 1},
    "digits": {"epochs": 2, "lr": 1e-2},
    "validation_share": 0.25,
    "wanted_recall": 0.9,
}


def outcome(missed, alarms=None, digits=None, ties=None, chosen=None, *, cases=100, cancers=40, images=400):
    """Counts of one seed: doctors that miss so many, a reader that misreads so many at each width; ties are of (ill, healthy),
    of the digits a list."""
    made = {"cases": cases, "cancers": cancers, "images": images, "validation": [20, 19]}
    for name in NAMES:
        m, a = missed.get(name, 2), (alarms or {}).get(name, 1)
        mt, at = (chosen or {}).get(name, (m, a))
        made[name] = [cases - m - a, m, a, cases - mt - at, mt, at, *(ties or {}).get(name, (0, 0))]
    made["digits"] = [images, 0]
    for bits in DIGIT_BITS:
        made[f"digits{bits}"] = [images - (digits or {}).get(bits, 0), (ties or {}).get(bits, 0)]
    return made


@given(
    st.lists(st.tuples(st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0]), st.integers(0, 1)), min_size=1, max_size=25),
    st.sampled_from([0.5, 0.9, 0.98, 1.0]),
)
@settings(max_examples=80)
def test_the_threshold_finds_the_wanted_share_and_no_larger_one_does(rows, wanted):
    margin, labels = np.array([m for m, _ in rows]), np.array([label for _, label in rows])
    if not labels.any():
        with pytest.raises(ValueError, match="label 1 occur"):
            threshold_for_recall(margin, labels, wanted)
        return
    ill = margin[labels == 1]
    threshold = threshold_for_recall(margin, labels, wanted)
    assert np.mean(ill >= threshold) >= wanted - 1e-9
    larger = [m for m in margin if m > threshold] + [threshold + 1]
    assert all(np.mean(ill >= m) < wanted - 1e-9 for m in larger)


def test_98_of_100_cancers_is_two_missed_and_not_one():
    """0.98 * 50 is 49.0 in exact arithmetic; a last bit too many would ask for 50."""
    assert threshold_for_recall(np.arange(50.0), np.ones(50, int), 0.98) == 1.0
    with pytest.raises(ValueError, match="wanted must lie in"):
        threshold_for_recall(np.arange(3.0), np.ones(3, int), 1.1)


def test_a_seed_counts_every_case_once_and_repeats_itself():
    found = run_doctor(2, SHORT)
    assert found == run_doctor(2, SHORT) and json.loads(json.dumps(found)) == found
    (made,) = found.values()
    assert (made["cases"], made["cancers"], made["images"]) == (142, 53, 450)
    for name in NAMES:
        *counts, ill, healthy = made[name]
        for right, missed, alarms in (counts[:3], counts[3:]):
            assert right + missed + alarms == 142 and 0 <= missed <= 53
        assert 0 <= ill <= counts[1] and 0 <= healthy <= 89 - counts[2]
    assert made["digits8"][0] > 0.5 * 450 and made["ptq8"][0] > 120


def recounted(doctor, x, y, xt, yt, wanted):
    """Eight counts, case by case."""

    def margins(rows):
        return [float(one[1]) - float(one[0]) for one in predict(doctor, rows)]

    ill = sorted((m for m, label in zip(margins(x), y) if label), reverse=True)
    threshold = next(m for number, m in enumerate(ill, 1) if number >= wanted * len(ill))
    counts = [0] * 8
    for m, label in zip(margins(xt), yt):
        for place, said in ((0, m > 0), (3, m >= threshold)):
            counts[place + (0 if said == label else 1 if label else 2)] += 1
        counts[6 if label else 7] += m == 0
    return counts


def test_a_seed_is_what_its_networks_answer_recounted_by_hand():
    """Trained on three quarters, the threshold from the fourth, counted on the test cases; both widths are the doctor's width."""
    seed, share = 6, SHORT["validation_share"]
    (made,) = run_doctor(seed, SHORT).values()
    (x, y), (xt, yt) = data.breast_cancer(seed)
    held = doctor_runs._validation_rows(y, share, seed)
    assert made["validation"] == [y[held].sum(), math.ceil(0.9 * y[held].sum())] == [39, 36]
    model = mlp(30, (16,), classes=2, seed=seed)
    fit(model, x[~held], y[~held], **SHORT["doctor"], seed=seed)
    seen = calibrate(model, x[~held])
    rest = (x[held], y[held], xt, yt, SHORT["wanted_recall"])
    assert made["float"] == recounted(model, *rest)
    for bits in (8, 4, 3):
        scheme = TFLITE_INT8.replace(weight_bits=bits, activation_bits=bits)
        assert made[f"ptq{bits}"] == recounted(quantize_model(model, seen, scheme=scheme), *rest)
        qat = quantize_model(model, seen, scheme=scheme)
        fit(qat, x[~held], y[~held], **SHORT["doctor_qat"], seed=1000 + seed)
        assert made[f"qat{bits}"] == recounted(qat, *rest)
    assert len({tuple(made[name]) for name in NAMES}) >= 5 and made["ptq3"][6] > 0, "the networks can be told apart"
    on_test_cases = recounted(model, xt, yt, xt, yt, SHORT["wanted_recall"])
    assert on_test_cases != made["float"], "a threshold from the test cases would be noticed"


def test_a_reader_is_recounted_by_hand():
    seed = 1
    (made,) = run_doctor(seed, SHORT).values()
    (x, y), (xt, yt) = data.digits(seed)
    model = mlp(hidden=(32,), seed=seed)
    fit(model, x, y, **SHORT["digits"], seed=seed)
    seen = calibrate(model, x[:512])
    for bits in (0, *DIGIT_BITS):
        scheme = TFLITE_INT8.replace(weight_bits=bits or 8, activation_bits=bits or 8)
        network = quantize_model(model, seen, scheme=scheme) if bits else model
        right = ties = 0
        for logits, label in zip(predict(network, xt).tolist(), yt.tolist()):
            first = logits.index(max(logits))
            right += first == label
            ties += first != label and logits[label] == max(logits)
        assert made[f"digits{bits or ''}"] == [right, ties]
    assert made["digits3"][1] > 0


def test_the_validation_part_has_the_same_share_of_both_and_moves_with_the_seed():
    labels = np.array([0] * 80 + [1] * 40)
    first, second = (doctor_runs._validation_rows(labels, 0.25, seed) for seed in (0, 1))
    for held in (first, second):
        assert held[labels == 0].sum() == 20 and held[labels == 1].sum() == 10
    assert not np.array_equal(first, second)


def test_the_same_drop_is_told_in_missed_cancers_and_in_misread_digits():
    """Ten more missed of 100 cases: 10 points, like 40 of 400 digits at 4 bits. Half of (10, 9) times t(1) is 6.35."""
    few = {"ptq3": 12, "ptq4": 2, "ptq8": 2}
    found = Doctors([outcome(few, digits={4: 40, 3: 200}), outcome({**few, "ptq3": 11}, digits={4: 36, 3: 200})])
    text = doctor_text(found)
    assert "3 bits  doctor -9.50 +-6.35 points: missed 2.0 -> 11.5 of 40, 5.8 times as many (more missed cancers: shown)" in text
    assert "digits -9.50 +-6.35 points at 4 bits: 38.0 +-25.4 more of 400 misread, each as bad as any other" in text
    assert "8 bits  doctor +0.00 +-0.00 points: missed 2.0 -> 2.0 of 40 (more missed cancers: not shown)" in text
    assert text.isascii() and max(map(len, text.splitlines())) <= 130
    better = doctor_text(Doctors([outcome({"ptq3": 1}), outcome({"ptq3": 1})]))
    assert "missed 2.0 -> 1.0 of 40 (fewer missed cancers: shown)" in better


def test_the_table_s_lines_are_the_counts():
    """Of 100 cases 40 cancers: accuracy, its change, missed, its change, false alarms, recall, its change; each by hand."""
    seeds = [outcome({"float": 2, "ptq3": 10 + s}, {"float": 1, "ptq3": 4}) for s in (0, 2)]
    lines = {line[:8].strip(): line[8:].split() for line in doctor_text(Doctors(seeds)).splitlines()[3:10]}
    assert list(lines) == ["float", "PTQ 8", "QAT 8", "PTQ 4", "QAT 4", "PTQ 3", "QAT 3"]
    assert lines["float"] == "97.00 +-0.00 2.0 1.0 95.00 +-0.00".split()
    # Accuracy 86 and 84, so -11 and -13; missed +8 and +10; recall 75 and 70: half widths t * sd / sqrt(2) = 12.7062 * |d| / 2.
    assert lines["PTQ 3"] == "85.00 +-12.71 -12.00 +-12.71 11.0 +9.0 +-12.7 4.0 72.50 +-31.77 -22.50 +-31.77".split()


def test_missed_cancers_without_a_verdict_are_counted_and_said():
    ties = {"ptq3": (7, 20), 3: 40}
    seeds = [outcome({"ptq3": 9}, ties=ties, digits={3: 50}), outcome({"ptq3": 10}, ties=ties, digits={3: 60})]
    text = doctor_text(Doctors(seeds))
    assert "  PTQ 3     7.0 of the 9.5 missed cancers (2.5 are missed by a verdict), 20.0 of 60 benign cases" in text
    assert "QAT 3     0" not in text and "Missed by a verdict, PTQ 3 minus float: +0.5 +-6.4 cancers." in text
    assert "Most of what PTQ 3 misses is a tie" in text and "(more missed cancers: shown, 7.0 of them ties)" in text
    assert "At 3 bits 40.0 of the 55.0 digits misread are ties too" in text
    some = doctor_text(Doctors([outcome({"ptq3": 9}, ties={"ptq3": (4, 0)})] * 2))
    assert "4.0 of the 9.0 missed" in some and "Most of what" not in some and "of them ties" not in some
    assert "right if not:\n  none.\n" in doctor_text(Doctors([outcome({}), outcome({})]))


def test_a_chosen_threshold_is_told_with_what_it_costs():
    """19 of 20 on validation; on the test cases 36 and 38 of 40 are found: 95 % lies in (29.4, 100) and is clipped there."""
    chosen = [{"ptq3": (4, 30), "qat3": (0, 9), "float": (6, 2)}, {"ptq3": (2, 32), "qat3": (0, 9), "float": (6, 2)}]
    text = doctor_text(Doctors([outcome({"ptq3": 12}, {"ptq3": 3}, chosen=one) for one in chosen]))
    assert "that finds 95 % of the cancers of a validation part\n(19 of 20; more" in text
    assert "  PTQ 3    missed  3.0 +-12.7, false alarms  31.0 +-12.7; recall 92.5 % (60.7 to 100.0): yes" in text
    assert "  QAT 3    missed  0.0 +-0.0, false alarms   9.0 +- 0.0; recall 100.0 % (100.0 to 100.0): above it" in text
    assert "  float    missed  6.0 +-0.0, false alarms   2.0 +- 0.0; recall 85.0 % (85.0 to 85.0): below it" in text
    assert "For PTQ 3 the threshold changes missed cancers by -9.0 +-12.7 and false alarms by +28.0 +-12.7." in text


def test_one_test_set_alone_is_the_median_doctor_s():
    """Missed 1, 2 and 9: the one in the middle, 38 of 40 found (Wilson: 83.5 to 98.6 %)."""
    text = doctor_text(Doctors([outcome({"float": m}) for m in (9, 1, 2)]))
    assert "One test set alone, with 2 of 40 missed, would give a recall between 83.5 and 98.6 %" in text


def test_a_conflict_of_accuracy_and_missed_cancers_is_found_or_denied():
    agree = Doctors([outcome({}), outcome({"ptq3": 5})])
    assert "nowhere: the order by accuracy is the order by missed cancers" in doctor_text(agree)
    seeds = [outcome({"qat3": 4 + s, "ptq3": 3}, {"qat3": 1, "ptq3": 9 + 2 * s}) for s in (0, 1)]
    said = doctor_text(Doctors(seeds))
    assert "QAT 3 over PTQ 3: +7.50 +-6.35 points of accuracy, +1.5 +-6.4 missed cancers (not clear" in said


def test_the_csv_has_every_mean_with_its_interval():
    """Missed 3 and 6: 4.5 +- 12.7062 * 1.5, but never below 0; the reader's lines too."""
    seeds = [outcome({"ptq4": m}, {"ptq4": 7}, {3: 8}, {"ptq4": (1, 5), 3: 2}, {"ptq4": (1, 9)}) for m in (3, 6)]
    rows = list(csv.DictReader(io.StringIO(doctor_csv(Doctors(seeds)))))
    lines = {(row["network"], row["count"]): row for row in rows}
    assert len(rows) == len(lines) == 7 * 8 + 7 * 2
    means = {count: float(row["mean"]) for (network, count), row in lines.items() if network == "doctor ptq4"}
    assert means == {"right": 88.5, "missed": 4.5, "false_alarms": 7, "right_chosen": 90, "missed_chosen": 1,
                     "false_alarms_chosen": 9, "ties_cancer": 1, "ties_benign": 5}  # fmt: skip
    missed = lines["doctor ptq4", "missed"]
    assert (missed["low"], missed["high"], missed["seeds"], missed["out_of"]) == ("0.0000", "23.5593", "2", "40")
    assert lines["doctor ptq4", "ties_benign"]["out_of"] == lines["doctor ptq4", "false_alarms"]["out_of"] == "60"
    assert {lines["doctor float", count]["out_of"] for count in ("missed_chosen", "ties_cancer")} == {"40"}
    assert lines["doctor float", "right_chosen"]["out_of"] == "100" and lines["digits 2", "right"]["out_of"] == "400"
    assert lines["digits 3", "right"]["mean"] == "392.0000" and lines["digits 3", "misread_ties"]["mean"] == "2.0000"
    assert lines["digits float", "right"]["mean"] == "400.0000"


@pytest.mark.parametrize("name, damage, told", [
    ("cancers", None, "a count as 'cancers', got None"), ("digits4", [3], r"a list of 2 counts as 'digits4', got \[3\]"),
    ("ptq3", [1.5] * 8, "a list of 8 counts as 'ptq3', got"), ("validation", [-1, 3], "a list of 2 counts as 'validation'"),
])  # fmt: skip
def test_a_damaged_entry_is_named(name, damage, told):
    assert all_counts(outcome({})) == outcome({})
    with pytest.raises(ValueError, match=f"an outcome must have {told}"):
        all_counts({**outcome({}), name: damage})


def test_the_command_prints_keeps_and_goes_on(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.setattr(study, "SETTINGS", SHORT)
    command = ["study", "acceptable", "--jobs", "1", "--out", str(tmp_path)]
    assert main([*command, "--seeds", "2"]) == 0
    first, _ = capsys.readouterr()
    assert main([*command, "--seeds", "2"]) == 0
    again, progress = capsys.readouterr()
    assert first == again and not progress and (tmp_path / "acceptable.txt").read_text() in first
    assert "missed" in first and (tmp_path / "acceptable.csv").read_text().startswith("network,count,mean,low,high")
    kept = tmp_path / "acceptable.json"
    kept.write_text(kept.read_text().replace('"cancers"', '"cancer"', 1))
    assert main([*command, "--seeds", "2"]) == 3
    assert "acceptable.json, entry 'seed 000': an outcome must have a count as 'cancers', got None" in capsys.readouterr().err
    assert main([*command, "--seeds", "1"]) == 3
    assert "seeds must be 2 or more" in capsys.readouterr().err
