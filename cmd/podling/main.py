import sys

from podling.boot.cli import main

sys.exit(main())
