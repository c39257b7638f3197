"""Troubles of this machine and of a service on it, each with the way out."""
