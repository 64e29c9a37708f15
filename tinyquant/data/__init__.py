"""Where the numbers come from: two real data sets in the package, readers of local files, and generators.

Nothing here opens a connection. Images are NHWC float32 in [0, 1], labels int64; whatever is drawn is drawn from a seed.
"""

from .local_files import cifar10 as cifar10
from .local_files import mnist as mnist
from .local_files import read_idx as read_idx
from .packaged import breast_cancer as breast_cancer
from .packaged import breast_cancer_features as breast_cancer_features
from .packaged import digits as digits
from .shapes import imbalanced as imbalanced
from .shapes import outlier_channels as outlier_channels
from .shapes import spirals as spirals
from .signals import chirp as chirp
from .signals import decaying_pulse as decaying_pulse
from .signals import sine as sine
from .signals import sine_regression as sine_regression
from .signals import sum_of_sines as sum_of_sines
from .strokes import glyphs as glyphs
