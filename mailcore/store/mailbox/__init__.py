"""The mailbox engine: heads with their log, the fold, packed segments, and views of them in memory."""
