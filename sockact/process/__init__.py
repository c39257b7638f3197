"""What every process of sockact has: descriptors, children, PID file, health listeners."""
