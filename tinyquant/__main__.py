"""`python -m tinyquant` is the command line."""

import sys

from tinyquant.cli import main

sys.exit(main())
