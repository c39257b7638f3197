"""The parts of every process of sockact: descriptors, children, PID file, health listeners."""
