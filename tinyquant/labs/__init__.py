"""The labs: exercises that check themselves, in words a student knows.

In a notebook or a script::

    from tinyquant.labs import check
    check("1.1", quantize)

On the command line `tinyquant lab` lists the sittings; `lab start`, `check`, `hint`, `solution`, `define`, `doctor` do the rest.

Where to read on: `exercise` (what an exercise is), `sittings/` (all of them), `sources/` (the labs' texts with their solutions,
public: labs are formative), `examine` (a check), `guard` (what it forbids), `workplace` (the student's folder).
"""

from __future__ import annotations

from tinyquant.labs.examine import Report as Report
from tinyquant.labs.examine import examine as examine
from tinyquant.labs.examine import examine_file as examine_file
from tinyquant.labs.exercise import Bug as Bug
from tinyquant.labs.exercise import Exercise as Exercise
from tinyquant.labs.exercise import Sitting as Sitting
from tinyquant.labs.notebook import check as check
from tinyquant.labs.notebook import predict as predict
from tinyquant.labs.notebook import reveal as reveal
from tinyquant.labs.notebook import show as show
from tinyquant.labs.sittings import find_exercise as find_exercise
from tinyquant.labs.sittings import find_sitting as find_sitting
from tinyquant.labs.sittings import sittings as sittings
