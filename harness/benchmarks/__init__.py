"""What each benchmark is, and the benchmarks that this project makes itself."""
