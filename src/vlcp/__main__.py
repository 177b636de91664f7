"""`python -m vlcp` is the command `vlcp`."""

from vlcp.cli.main import main

main()
