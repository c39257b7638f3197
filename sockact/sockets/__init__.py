"""Sockets: adopted, bound, passed on, accepted from, and what the kernel knows of them."""
