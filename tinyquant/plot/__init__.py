"""The room of pictures: one function a figure, and each says what it shows without a caption.

Every function takes arrays or a model, draws with the house style (see `style`), and returns the figure; nothing is shown,
no global setting is changed, nothing is computed that another room computes. `save=` writes a PNG or an SVG whose
bytes depend on the data alone, with the alternative text inside.

Importing this room loads matplotlib; `import tinyquant` does not.
"""

from .signal import signal as signal

__all__ = ["signal"]
