"""A working day of developers on limits of money: `python -m benchmarks.simulation`."""
