"""Kubernetes (K3s) on two servers: the installer, and what Kubernetes must be told of a dead node.

The module of the library (`library/k3s`) stands on its own; this package is for those who do not
want to do by hand what can be done by a program:

- `plan`, `steps_*`: the installation as a list of steps, each with a question whether it is done;
  `machine` acts, `runner` goes through them and keeps a record.
- `takeover`, `follow`: the take-over in Kubernetes; `kubernetes` speaks to its API.
- `volumes`, `backup`, `status`: what an administrator does later.

Nothing here is needed for the datastore to serve: it may fail or be killed at any moment.
"""
