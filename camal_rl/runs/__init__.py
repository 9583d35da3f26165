"""Everything common to all runs: run folder, provenance, configuration, learning curves, device settings."""
