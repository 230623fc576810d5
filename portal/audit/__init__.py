"""What was done, by whom: a chain of rows for each organisation that shows when one was changed."""
