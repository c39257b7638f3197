"""Operating-system services for every process: signals, fork(2), standard streams, /proc."""
