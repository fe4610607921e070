"""`python -m sightline.cli`: the `sightline` command where the console script is not on the PATH."""

from sightline.cli import main

main(prog_name="sightline")
