"""The writers: programs that run on the lab's client host and report what was acknowledged.

Each prints one JSON line for each fact on standard output, with the machine's monotonic time in it,
and ends when its standard input is closed: a writer never outlives the one who asked for it.
"""
