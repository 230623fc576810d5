"""Background work: jobs on Redis that take ids, read state anew, and may run twice."""
