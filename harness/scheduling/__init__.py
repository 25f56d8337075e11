"""Plan -> scripts -> jobs -> states."""
