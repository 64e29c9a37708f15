"""The three reference networks, trained on digits split 0: weights for `models.load_checkpoint`.

`python -m tinyquant.checkpoints` trains them and writes the files beside this one (`make.py`).
"""

from .make import make_checkpoint as make_checkpoint
