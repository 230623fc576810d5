"""What leaves: who may send as whom, signatures, the queue, holds, and what became of it."""
