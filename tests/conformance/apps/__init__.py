"""Apps that programs of other people talk to, or that are made with their frameworks."""
