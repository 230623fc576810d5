"""The REST API, by requests to its WSGI application on real services."""
