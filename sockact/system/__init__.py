"""What the operating system has for every process: signals, fork(2), standard streams, /proc."""
