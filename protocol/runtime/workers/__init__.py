"""Several processes that are one node: a supervisor opens the sockets, and workers answer on them."""
