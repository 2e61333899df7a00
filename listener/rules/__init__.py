"""
The rules: which blocks and logs are occasions for a task.

Pure functions of plain values. Nothing here reads a chain, a file or the clock.
"""
