# %% [markdown]
# # Lab 6. The table and the doctor
#
# Accuracy counts all mistakes alike and knows nothing of luck; here you count the one that matters, and say how sure you are.
#
# Step through the page first (`tutorials/06_table_and_doctor` of the repository). Here you write the three
# numbers of that page yourself: numpy only. Check on the command line with `tinyquant check 6.1` (add `--watch`
# to check at every save), or run the cells of this file. A hint: `tinyquant hint 6.1`. A word: `tinyquant define
# recall`.
#
# The doctors know thirty cell measurements, not an image. This is teaching data, not a medical device.

# %%
# On a hosted notebook, once: %pip install tinyquant-labs (or the wheel your course gives you)
import numpy as np

import tinyquant as tq
from tinyquant.checkpoints.families import load_cancer_family
from tinyquant.labs import check, show
from tinyquant.training import predict

assert tq.__version__ >= "0.1", "this lab needs tinyquant 0.1 or later"

# %% [markdown]
# ## 6.1 Recall
#
# Of those who are ill, how many are found? Those who are healthy do not count, whatever is said of them.


# %%
def recall(truth, predicted):
    """The share of the ones in truth that predicted has too: a float from 0 to 1.

    Both are arrays of 0 and 1, one place a case; truth holds at least one 1.
    truth [1, 1, 0, 0], predicted [1, 0, 0, 0] -> 0.5. With predicted [1, 1, 1, 1] -> 1.0.
    """
    raise NotImplementedError("TODO 6.1: write recall here, then run this again. A hint: tinyquant hint 6.1")


check("6.1", recall)

# %% [markdown]
# ## 6.2 Choose a threshold
#
# A network gives a score: the higher, the more it believes in cancer. You decide from where on it says so. Low finds more, and
# calls more healthy cases ill. Find as many as asked for, and no more than that costs.


# %%
def choose_threshold(scores, truth, recall):
    """The threshold t: cases with scores >= t are called ill. One of the scores.

    scores is an array of floats, truth one of 0 and 1 (at least one 1), recall the share of the ones that must be found, above 0.
    Of the thresholds that find so many, the one with the fewest false alarms.
    scores [3.0, 2.0, 1.0, -1.0], truth [1, 0, 1, 1]: recall 0.6 -> 1.0, and recall 1.0 -> -1.0.
    (Here `recall` is the number that is asked for; it hides your function of that name.)
    """
    raise NotImplementedError("TODO 6.2: write choose_threshold here, then run this again. A hint: tinyquant hint 6.2")


check("6.2", choose_threshold)

# %% [markdown]
# ## An experiment: how many cancers are missed, before and after
#
# Twelve doctors, in float and with fewer and fewer bits (weights and activations), through *your* two functions. None of these
# 142 cases was seen in training. Every other case chooses the threshold (they are the *validation* part), the rest test.

# %%
(x, y), (cases, truth) = tq.data.breast_cancer(split=0)
validation = np.arange(len(truth)) % 2 == 0
ill = truth[~validation] == 1
doctors = load_cancer_family()


def scores_of(doctor, bits):
    """How much more a doctor believes in malignant than in benign; bits 0 is float."""
    if bits:
        scheme = tq.schemes.TFLITE_INT8.replace(weight_bits=bits, activation_bits=bits)
        doctor = tq.quantize_model(doctor, tq.calibrate(doctor, x), scheme=scheme)
    logits = predict(doctor, cases)
    return (logits[:, 1] - logits[:, 0]).round(4)  # equal in codes, so equal as scores


print(f"{ill.sum()} cancers and {(~ill).sum()} benign cases to test with; means of {len(doctors)} doctors")
print(f"{'':<8}{'missed: above 0':>16}{'chosen':>8}{'alarms: above 0':>17}{'chosen':>8}{'recall':>8}{'had the test chosen':>21}")
for bits in (0, 8, 4, 3):
    lines = []
    for doctor in doctors:
        scores = scores_of(doctor, bits)
        tested = scores[~validation]
        t = choose_threshold(scores[validation], truth[validation], 0.95)
        cheat = choose_threshold(tested, truth[~validation], 0.95)
        missed = [(ill & ~called).sum() for called in (tested > 0, tested >= t)]
        alarms = [(~ill & called).sum() for called in (tested > 0, tested >= t)]
        recalls = [recall(truth[~validation], (tested >= limit).astype(int)) for limit in (t, cheat)]
        lines.append([*missed, *alarms, *recalls])
    mean = np.mean(lines, axis=0)
    name = f"{bits} bits" if bits else "float"
    print(f"{name:<8}{mean[0]:>16.1f}{mean[1]:>8.1f}{mean[2]:>17.1f}{mean[3]:>8.1f}{mean[4]:>8.2f}{mean[5]:>21.2f}")

# %% [markdown]
# The last column has seen the answers: had the test cases chosen, every doctor would keep the promise of 0.95. Chosen on
# validation, recall comes out as it comes out; that is the number to report. And see what the 3-bit doctor pays in false alarms.

# %%
pair = {name: (scores_of(doctors[0], bits) > 0).astype(int) for name, bits in (("float", 0), ("8 bits", 8), ("3 bits", 3))}
show(tq.plot.missed_cases(truth, pair), "lab_06_missed")

# %% [markdown]
# ## 6.3 Stretch: the interval of the table
#
# Two methods, each run from the same seeds. Seed by seed, take the difference: the luck of the seed is in both, and drops out.
# Then mean +- t * s / sqrt(n), where s is the spread of the n differences: the root of their squares over n - 1.


# %%
def paired_interval(a, b, t):
    """(low, high): two floats, the ends of the interval of the mean of a - b.

    a and b are arrays of floats of one length n, 2 or more; place i of both is one seed. t is a number from a table (2.365 for
    95 % and n = 8). The page's eight seeds at 3 bits, QAT against PTQ of the control, in images:
    a = [435, 431, 434, 432, 435, 436, 430, 435], b = [425, 425, 427, 422, 426, 400, 428, 424], t = 2.365 -> (2.71, 20.04)
    """
    raise NotImplementedError("TODO 6.3: write paired_interval here, then run this again. A hint: tinyquant hint 6.3")


check("6.3", paired_interval)

# %% [markdown]
# ## 6.4 Find the bug
#
# So a library of metrics worked out the recall of a two-class problem (Lightning-AI/torchmetrics#439; #746 is a longer talk about
# it): what was found of *each* class, together. In the issue a network finds none of eight positive cases of twenty, and 0.55 is
# reported.


# %%
def reported_recall(truth, predicted):
    """Recall. Do not mend it: find where it goes wrong."""
    found = missed = 0
    for kind in (0, 1):
        found += np.sum((truth == kind) & (predicted == kind))
        missed += np.sum((truth == kind) & (predicted != kind))
    return found / (found + missed)


# %%
def counterexample():
    """An input on which reported_recall breaks the law "of the cases that are 1 in truth, the share that was predicted 1".

    Return a dict: {"truth": [0 or 1, ...], "predicted": [0 or 1, ...]}.
    """
    raise NotImplementedError("TODO 6.4: write counterexample here, then run this again. A hint: tinyquant hint 6.4")


check("6.4", counterexample)

# %% [markdown]
# ## What to remember
#
# - A difference needs seeds, an interval and a control: at 8 bits QAT's win was the extra training, at 3 bits it was QAT.
# - Accuracy counts all mistakes alike. Count the mistake that matters, and fix the limit before you look.
# - A threshold is chosen on data that neither trained nor tests; it moves mistakes from one kind to the other.
#
# | here | PyTorch | TFLite |
# |---|---|---|
# | `recall` | `torchmetrics.classification.BinaryRecall` | `tf.keras.metrics.Recall` |
# | `choose_threshold` | `BinaryPrecisionAtFixedRecall` | `tf.keras.metrics.PrecisionAtRecall` |
# | `paired_interval` | `scipy.stats.ttest_rel(a, b).confidence_interval()` | the same |
