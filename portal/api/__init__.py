"""The part of the API that is about organisations: `/tenants`, `/members`, `/domains`.

Served below `/api` by the processes of the portal, with the tokens, errors and habits of the rest (`mailcore.api`); a
load balancer shows clients one API.
"""
