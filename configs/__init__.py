"""The configurations that ship with the package, one YAML file for each experiment."""
