"""Many runs side by side: one table with intervals, verdicts, claims, a report to read."""
