"""`python -m vlcp` is the command `vlcp`."""

from vlcp.cli.main import main

if __name__ == "__main__":
    main()
