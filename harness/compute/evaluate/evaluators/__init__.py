"""Who asks and grades a cell: ourselves, or a program of its own."""
