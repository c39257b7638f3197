"""Safe reading of input from others: text, numbers, files, JSON, descriptors."""
