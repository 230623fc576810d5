"""What the hosts `mta-sts`, `autoconfig` and `autodiscover` of tenants' domains serve, over HTTPS and plain HTTP."""
