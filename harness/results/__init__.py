"""Run folders -> one table -> what a person looks at."""
