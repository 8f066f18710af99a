"""The named models of unetzoo, one YAML file each, by family."""
