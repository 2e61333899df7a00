"""Chaos: the daemon as a process, killed at every step while all around it fails, and counted from outside."""
