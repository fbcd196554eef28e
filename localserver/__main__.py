"""`python -m localserver`."""

from localserver.cli import main

main(prog_name="python -m localserver")
