"""Random sequences of operations, from a seed: what they return on the mount must be what they
return on a bare directory, step by step, and both copies must be equal afterwards.

`names` plays with a small tree of names, as several users; `contents` with a few files. A sequence
is a function of its seed alone, so a difference is found again by its seed and its step.
"""
