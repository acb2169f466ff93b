"""`python -m crvae3d`: the same as the command `crvae3d`."""

import sys

from crvae3d.cli.main import main

sys.exit(main())
