"""The command line ``camal-rl``."""
