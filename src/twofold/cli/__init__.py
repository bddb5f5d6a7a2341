"""The command line: one file for each group of commands; each asks the daemon and shows the answer.

`main` is the entry point and the only place where an error becomes text and an exit code; `app`
puts the groups together; `session` holds the options that all share; `output` and `state_view`
show things. Heavy imports (rich, cryptography) happen inside commands: the CLI starts fast.
"""
