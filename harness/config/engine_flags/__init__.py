"""What flags each engine has: recorded, one file for each version that we tested."""
