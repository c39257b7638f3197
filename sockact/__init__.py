"""systemd socket activation for Python services."""
