"""`python -m trl_entropy.train`."""

from . import main


main()
