"""`python -m sockact` is the command `sockact`."""

from sockact.cli import main

if __name__ == "__main__":
    main()
