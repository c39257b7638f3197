"""What systemd knows of this service: its unit files, its sockets, and what systemctl says."""
