"""systemd's knowledge of this service: its unit files, its sockets, and the answers of systemctl."""
