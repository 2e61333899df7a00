"""The benchmarks: the daemon against the script that a user would write instead, on the same local chain."""
