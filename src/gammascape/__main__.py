"""`python -m gammascape` is the command `gammascape`."""

from gammascape.cli import command

if __name__ == "__main__":
    command()
