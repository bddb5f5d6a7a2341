"""`python -m twofold.web`, for a bare checkout."""

from twofold.web.app import main

if __name__ == "__main__":
    main()
