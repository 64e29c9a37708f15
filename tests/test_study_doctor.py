"""Cat or cancer: thresholds and counts by hand, and sentences that follow from the counts."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyquant.cli import main, study
from tinyquant.study import doctor_runs
from tinyquant.study.doctor import NAMES, Doctors, doctor_csv, doctor_text
from tinyquant.study.doctor_runs import DIGIT_BITS, run_doctor, threshold_for_recall

SHORT = {
    "doctor": {"epochs": 8, "lr": 1e-2},
    "doctor_qat": {"epochs": 1},
    "digits": {"epochs": 2, "lr": 1e-2},
    "validation_share": 0.25,
    "wanted_recall": 0.9,
}


def outcome(missed, alarms=None, digits=None, ties=None, *, cases=100, cancers=40, images=400):
    """Counts of one seed: doctors that miss so many, a reader that misreads so many at each width."""
    made = {"cases": cases, "cancers": cancers, "images": images}
    for name in NAMES:
        m, a = missed.get(name, 2), (alarms or {}).get(name, 1)
        made[name] = [cases - m - a, m, a, cases - m - a, m, a, (ties or {}).get(name, 0)]
    made["digits"] = images
    for bits in DIGIT_BITS:
        made[f"digits{bits}"] = images - (digits or {}).get(bits, 0)
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
        *counts, ties = made[name]
        for right, missed, alarms in (counts[:3], counts[3:]):
            assert right + missed + alarms == 142 and 0 <= missed <= 53
        assert 0 <= ties <= counts[1]
    assert made["digits8"] > 0.5 * 450 and made["ptq8"][0] > 120
    # The threshold was chosen to find most cancers: it never misses more than the middle does by chance alone.
    assert made["float"][4] <= made["float"][1] + 2


def test_the_validation_part_has_the_same_share_of_both_and_moves_with_the_seed():
    labels = np.array([0] * 80 + [1] * 40)
    first, second = (doctor_runs._validation_rows(labels, 0.25, seed) for seed in (0, 1))
    for held in (first, second):
        assert held[labels == 0].sum() == 20 and held[labels == 1].sum() == 10
    assert not np.array_equal(first, second)


def test_the_same_drop_is_told_in_missed_cancers_and_in_misread_digits():
    """Ten more missed of 100 cases: 10 points, like 40 of 400 digits at 4 bits."""
    few = {"ptq3": 12, "ptq4": 2, "ptq8": 2}
    found = Doctors([outcome(few, digits={4: 40, 3: 200}), outcome({**few, "ptq3": 11}, digits={4: 36, 3: 200})])
    text = doctor_text(found)
    assert "3 bits  doctor -9.50 points: missed 2.0 -> 11.5 of 40, 5.8 times as many (more missed cancers: shown)" in text
    assert "digits -9.50 points at 4 bits, the nearest: 38.0 more of 400 digits misread" in text
    assert "8 bits  doctor +0.00 points: missed 2.0 -> 2.0 of 40 (more missed cancers: not shown)" in text
    assert text.isascii() and max(map(len, text.splitlines())) <= 130


def test_missed_cancers_without_a_verdict_are_counted_and_said(monkeypatch):
    """A margin of exactly 0 is a tie, of an ill person only; every doctor has one here, and no other margin is 0."""
    labels = np.array([1, 1, 1, 1, 0, 0, 0, 0])
    margins = np.array([0.0, 0.0, -1.0, 2.0, 0.0, -1.0, -1.0, 2.0])
    monkeypatch.setattr(doctor_runs, "_margin", lambda doctor, x: margins if len(x) == 8 else np.arange(float(len(x))))
    (x, y), (xt, _) = doctor_runs.data.breast_cancer(0)
    monkeypatch.setattr(doctor_runs.data, "breast_cancer", lambda split: ((x, y), (xt[:8], labels)))
    (made,) = run_doctor(0, SHORT).values()
    assert made["ptq3"][:3] == [4, 3, 1] and made["ptq3"][6] == 2
    found = Doctors([outcome({"ptq3": 9}, ties={"ptq3": 7}), outcome({"ptq3": 10}, ties={"ptq3": 6})])
    assert "PTQ 3    6.5 of the 9.5 missed" in doctor_text(found) and "QAT 3    0" not in doctor_text(found)
    assert "none: every missed cancer was called benign by a margin" in doctor_text(Doctors([outcome({}), outcome({})]))


def test_a_conflict_of_accuracy_and_missed_cancers_is_found_or_denied():
    agree = Doctors([outcome({}), outcome({"ptq3": 5})])
    assert "nowhere: the order by accuracy is the order by missed cancers" in doctor_text(agree)
    seeds = [outcome({"qat3": 4 + s, "ptq3": 3}, {"qat3": 1, "ptq3": 9 + 2 * s}) for s in (0, 1)]
    said = doctor_text(Doctors(seeds))
    assert "QAT 3 over PTQ 3: +7.50 +-6.35 points of accuracy, +1.5 +-6.4 missed cancers (not clear" in said


def test_the_csv_has_the_means():
    found = Doctors([outcome({"ptq4": 3}), outcome({"ptq4": 6})])
    lines = {line["doctor"]: line for line in csv.DictReader(io.StringIO(doctor_csv(found)))}
    assert list(lines) == list(NAMES) and float(lines["ptq4"]["missed"]) == 4.5 and float(lines["ptq4"]["right"]) == 94.5


def test_the_command_prints_keeps_and_goes_on(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.setattr(study, "SETTINGS", SHORT)
    command = ["study", "acceptable", "--jobs", "1", "--out", str(tmp_path)]
    assert main([*command, "--seeds", "2"]) == 0
    first, _ = capsys.readouterr()
    assert main([*command, "--seeds", "2"]) == 0
    again, progress = capsys.readouterr()
    assert first == again and not progress and (tmp_path / "acceptable.txt").read_text() in first
    assert "missed" in first and (tmp_path / "acceptable.csv").read_text().startswith("doctor,seeds,cases,cancers")
    assert main([*command, "--seeds", "1"]) == 3
    assert "seeds must be 2 or more" in capsys.readouterr().err
