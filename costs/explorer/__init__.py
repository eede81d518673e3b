"""The cost explorer: costs by dimension, from daily and monthly totals."""
