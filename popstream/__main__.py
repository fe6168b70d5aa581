"""`python -m popstream` is the command `popstream`."""

import sys

try:
    from popstream.cli import main

    status = main()
except KeyboardInterrupt:  # while it was imported
    print("interrupted", file=sys.stderr)
    status = 130
sys.exit(status)
