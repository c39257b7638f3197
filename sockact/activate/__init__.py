"""A socket-activating parent without systemd: it holds sockets, and keeps a program that serves them."""
