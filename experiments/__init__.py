"""Every experiment of the papers: one YAML file an entry, one command a run."""
