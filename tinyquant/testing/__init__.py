"""Checking anybody's quantization code: laws in words, exact oracles, cases, and a registry of known mistakes.

`check(fn)` looks for the smallest input on which a function breaks a law; `assert_property(name, case, quantize=fn)` is for tests
of one's own; `wrong_answers()` lists mistakes that a good test must catch. Nothing here needs hypothesis: without it a fixed grid
of boundary cases is tried, with it `tinyquant.testing.strategies` draws more.

Any function may be checked, numpy and nothing else. Its role says which laws it must keep; its parameters are matched by name,
and other people's names for them are known (`values` for x, `s` for the scale, `zp` for the zero point). This one rounds the
zero point together with x and casts before it clips:

    >>> import numpy as np
    >>> def to_int8(values, s, zp):
    ...     return (values / s + zp).round().astype(np.int32).astype(np.int8).clip(-128, 127)
    >>> found = check(to_int8, role="quantize")
    >>> found.broken_law, found.case
    ('saturates', MapCase(x=(128.0,), scale=1.0, zero_point=0, qmin=-128, qmax=127, dtype='float64', mode='half_away'))
    >>> print(found.to_text(next_action="clip first, cast last"))
    quantize breaks the law saturates
      input    x=[128.0], scale=1.0, zero_point=0, qmin=-128, qmax=127
      yours    code -128 for 128
      right    code 127, the last one on that side
      allowed  none: the answer is exact
      the law  what lies outside the range gets the last code on its side: it
               saturates, never wraps
      next     clip first, cast last

Clipped before it is cast it passes, wherever the zero point is added:

    >>> right = lambda values, s, zp: (values / s + zp).round().clip(-128, 127).astype(np.int8)
    >>> check(right, role="quantize", engine="grid").passed
    True

A law in a hypothesis test of one's own::

    from hypothesis import given
    from tinyquant.testing import assert_property
    from tinyquant.testing.strategies import map_cases

    @given(map_cases())
    def test_round_trip(case):
        assert_property("round_trip_half_step", case, quantize=my_quantize)

Where to read on: `law` (what a law is); `map_laws`, `error_laws`, `range_laws`, `integer_laws`, `training_laws` and
`counting_laws` (all of them); `cases`, `exact`, `checking`.
"""

from __future__ import annotations

# Importing a file of laws puts them among LAWS; within a role, the order of its file is the order in which a check looks.
from tinyquant.testing import counting_laws as counting_laws
from tinyquant.testing import error_laws as error_laws
from tinyquant.testing import exact as exact
from tinyquant.testing import integer_laws as integer_laws
from tinyquant.testing import map_laws as map_laws
from tinyquant.testing import range_laws as range_laws
from tinyquant.testing import training_laws as training_laws
from tinyquant.testing.cases import AccuracyCase as AccuracyCase
from tinyquant.testing.cases import BatchesCase as BatchesCase
from tinyquant.testing.cases import BytesCase as BytesCase
from tinyquant.testing.cases import Case as Case
from tinyquant.testing.cases import CodesCase as CodesCase
from tinyquant.testing.cases import DotCase as DotCase
from tinyquant.testing.cases import GradientCase as GradientCase
from tinyquant.testing.cases import GraphCase as GraphCase
from tinyquant.testing.cases import LayerCase as LayerCase
from tinyquant.testing.cases import MapCase as MapCase
from tinyquant.testing.cases import MseCase as MseCase
from tinyquant.testing.cases import MultiplierCase as MultiplierCase
from tinyquant.testing.cases import PairedCase as PairedCase
from tinyquant.testing.cases import PercentileCase as PercentileCase
from tinyquant.testing.cases import RangeCase as RangeCase
from tinyquant.testing.cases import RecallCase as RecallCase
from tinyquant.testing.cases import RescaleCase as RescaleCase
from tinyquant.testing.cases import RoundCase as RoundCase
from tinyquant.testing.cases import ScaleCase as ScaleCase
from tinyquant.testing.cases import SignatureError as SignatureError
from tinyquant.testing.cases import SignCase as SignCase
from tinyquant.testing.cases import ThresholdCase as ThresholdCase
from tinyquant.testing.cases import TieCase as TieCase
from tinyquant.testing.checking import CheckResult as CheckResult
from tinyquant.testing.checking import PropertyBroken as PropertyBroken
from tinyquant.testing.checking import assert_property as assert_property
from tinyquant.testing.checking import check as check
from tinyquant.testing.checking import tie_rule as tie_rule
from tinyquant.testing.grid import grid as grid
from tinyquant.testing.law import LAWS as LAWS
from tinyquant.testing.law import Abort as Abort
from tinyquant.testing.law import Broken as Broken
from tinyquant.testing.law import Law as Law
from tinyquant.testing.law import find_law as find_law
from tinyquant.testing.law import laws_for as laws_for
from tinyquant.testing.legal import is_legal as is_legal
from tinyquant.testing.right_answers import right_answers as right_answers
from tinyquant.testing.shrink import shrink as shrink
from tinyquant.testing.wrong_answers import WrongAnswer as WrongAnswer
from tinyquant.testing.wrong_answers import companions as companions
from tinyquant.testing.wrong_answers import wrong_answers as wrong_answers
