"""What the platform's own people may see and do, and what organisations let them."""
