"""`python -m hhray` is the `hhray` command."""

import sys

from hhray.cli import main

sys.exit(main())
