"""What every process needs: the clock, threads, Redis, jobs."""
