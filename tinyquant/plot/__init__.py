"""The room of pictures: one function a figure, and each says what it shows without a caption.

Every function takes arrays or a model, draws with the house style (see `style`), and returns the figure; nothing is shown,
no global setting is changed, nothing is computed that another room computes. `save=` writes a PNG or an SVG whose
bytes depend on the data alone, with the alternative text inside.

Importing this room loads matplotlib; `import tinyquant` does not.
"""

from .multiply_accumulate import multiply_accumulate as multiply_accumulate
from .network import network as network
from .rounding import rounding_modes as rounding_modes
from .signal import signal as signal
from .staircase import staircase as staircase
from .ste import ste as ste

__all__ = ["multiply_accumulate", "network", "rounding_modes", "signal", "staircase", "ste"]
