"""The daemon `twofoldd`: it wires the pure machine to the adapters, and acts."""
