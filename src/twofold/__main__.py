"""`python -m twofold` is `twofold`."""

from twofold.cli.main import main

main()
