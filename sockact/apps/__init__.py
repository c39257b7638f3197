"""The user's app: import it, tell what it is, assign it to sockets."""
