"""MongoDB: one repository class for each collection."""
