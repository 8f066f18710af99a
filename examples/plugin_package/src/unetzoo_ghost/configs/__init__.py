"""The YAML files of this package's named models."""
