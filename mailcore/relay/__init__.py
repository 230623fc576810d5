"""The relay: takes what is queued to where it goes, and tells senders what did not get there."""
