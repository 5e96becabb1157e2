"""`python -m gateway.cli`: the same as `procot`, without a script that bears a path."""

from gateway.cli.main import main

main()
