"""``python -m sansio_pingora.cli``: the command line."""

import sys

from sansio_pingora.cli import main

if __name__ == "__main__":
    sys.exit(main())
