import sys

from podling.boot.cli import main

sys.exit(main(worker="bin/podling-worker"))
