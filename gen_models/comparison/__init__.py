"""Many runs side by side: one table with intervals, verdicts, and a report to read."""
