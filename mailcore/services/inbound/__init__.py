"""What becomes of incoming mail: rules, scripts, replies, forwards, spam, delivery."""
