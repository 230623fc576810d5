"""The jobs, one module for each subject; each may run twice, or stop anywhere and run again."""
