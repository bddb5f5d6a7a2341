"""Twofold: high availability on two ordinary servers."""

__version__ = "0.1.0"
