"""The one door to other programs: calls, supervised processes, a role's environment."""
