"""Supervisors, workers, a service manager and clients in one process, in simulated time (see `world`)."""
