"""What others have written or sent, read so that it can do no harm: text, files, JSON, descriptors."""
