"""`python -m popstream` is the command `popstream`."""

import sys

from popstream.cli import main

sys.exit(main())
