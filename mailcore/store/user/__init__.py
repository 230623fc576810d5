"""What is kept of users beside their mail."""
