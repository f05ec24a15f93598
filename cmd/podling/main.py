"""The program podling."""

import sys

from podling.boot.cli import main

if __name__ == "__main__":
    sys.exit(main())
