"""What processes say to each other: one module per protocol, both ends in it."""
