"""The program podling-worker."""

import sys

from podling.boot.worker import main

if __name__ == "__main__":
    sys.exit(main())
