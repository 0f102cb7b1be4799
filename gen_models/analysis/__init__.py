"""Many runs: read, grouped, summarised, tested, drawn and put on a page."""
