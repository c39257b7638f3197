"""The life of one service: phases, conductor, drain, deadlines, and the announcements to its manager."""
