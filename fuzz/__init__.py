"""Coverage-guided fuzzing of the machines: ``python -m fuzz --help``. How it works: docs/fuzzing.md."""
