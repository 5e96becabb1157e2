"""`python -m gateway.cli`: the same as `procot`, without a script that bears a path."""

import sys

from gateway.cli.main import main

sys.argv[0] = "procot"  # what lock files and messages call us, however we were started
main()
