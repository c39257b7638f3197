"""The life of one service: phases, conductor, drain, and what is told to the manager."""
