"""Chaos: a seeded random walk over a service under systemd, and an oracle of what it may lose."""
