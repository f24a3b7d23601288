"""What the jobs share: sources, a context, one run and its report, retries."""
