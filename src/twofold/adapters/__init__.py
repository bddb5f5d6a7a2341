"""The shells: one concept of the outside world each, implementing one port of `twofold.ports`.

They act and decide nothing. They do not import each other; `twofold.daemon.app` alone puts them
together.
"""
