"""`python -m bitexport` is `bitexport`."""

from __future__ import annotations

from bitexport.cli import main

main(prog_name="bitexport")
