"""The cost explorer: who spent what, from daily and monthly totals."""
