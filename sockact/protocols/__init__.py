"""The protocols between processes: both ends of each in one module or package."""
