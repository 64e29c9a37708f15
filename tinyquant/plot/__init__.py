"""The room of pictures: one function a figure, and each says what it shows without a caption.

Every function takes arrays or a model, draws with the house style (see `style`), and returns the figure; nothing is shown,
no global setting is changed, nothing is computed that another room computes. `save=` writes a PNG or an SVG whose
bytes depend on the data alone, with the alternative text inside.

Importing this room loads matplotlib; `import tinyquant` does not.
"""

from .confusion import confusion_matrices as confusion_matrices
from .cost_views import Candidate as Candidate
from .cost_views import bytes_against_accuracy as bytes_against_accuracy
from .cost_views import memory_timeline as memory_timeline
from .distributions import calibration_tradeoff as calibration_tradeoff
from .distributions import histogram_to_comb as histogram_to_comb
from .layer_views import channel_ranges as channel_ranges
from .layer_views import sensitivity_map as sensitivity_map
from .layer_views import sqnr_bars as sqnr_bars
from .missed_cases import missed_cases as missed_cases
from .multiply_accumulate import multiply_accumulate as multiply_accumulate
from .network import network as network
from .resilience import resilience_curves as resilience_curves
from .results_table import results_table as results_table
from .rounding import rounding_modes as rounding_modes
from .signal import signal as signal
from .staircase import staircase as staircase
from .ste import ste as ste
from .training_views import code_flips as code_flips
from .training_views import training_curves as training_curves
from .waterfall import budget_waterfall as budget_waterfall

__all__ = [
    "Candidate",
    "budget_waterfall",
    "bytes_against_accuracy",
    "calibration_tradeoff",
    "channel_ranges",
    "code_flips",
    "confusion_matrices",
    "histogram_to_comb",
    "memory_timeline",
    "missed_cases",
    "multiply_accumulate",
    "network",
    "resilience_curves",
    "results_table",
    "rounding_modes",
    "sensitivity_map",
    "signal",
    "sqnr_bars",
    "staircase",
    "ste",
    "training_curves",
]
