"""``python -m gateway``: the same as ``jobgate``."""

from gateway.cli import main

if __name__ == "__main__":
    main()
