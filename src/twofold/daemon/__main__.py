"""`python -m twofold.daemon`: the same as `twofoldd`."""

from twofold.daemon.app import main

if __name__ == "__main__":
    main()
