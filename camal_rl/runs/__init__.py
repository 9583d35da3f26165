"""What every run has, whatever is trained: run folder, provenance, configuration, learning curves, device settings."""
