"""The tenant portal: Flask on Postgres; reaches mail only through mailcore.services."""
