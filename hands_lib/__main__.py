"""`python -m hands_lib` is the command `hands`."""

import sys

from hands_lib.reproduce.command import main

sys.exit(main())
