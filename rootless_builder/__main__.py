"""`python -m rootless_builder` is `iechor`."""

from .cli.main import command

if __name__ == "__main__":
    command()
