"""`python -m trl_entropy` is `trl-entropy`."""

import sys

from .cli import main


sys.exit(main())
