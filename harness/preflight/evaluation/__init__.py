"""Can the evaluations run: benchmarks, judge, server, cost."""
