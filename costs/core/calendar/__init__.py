"""Days, weeks and months: periods of limits, ranges of dates, instants, the ECB's working days."""
