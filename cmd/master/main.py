"""The program podling-master."""

import sys

from podling.boot.master import main

if __name__ == "__main__":
    sys.exit(main())
