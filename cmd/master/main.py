"""The master, from a clone."""

import sys

from podling.boot.master import main

if __name__ == "__main__":
    sys.exit(main())
