"""The witness: a small service on a third machine that rules when two nodes lose each other."""
