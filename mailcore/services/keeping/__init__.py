"""Keeping and taking away: retention, restoring, audits, exports, imports, proof that all is sound."""
