"""The first page of an organisation: what there is, and what to do next."""
