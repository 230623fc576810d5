"""The REST API: everything about mail, with the paths, fields and codes that WildDuck's clients know.

`operations.ALL` is the one table: a route, its permission, what it takes and gives, and the function that
does it. The routes, the checks of input, the OpenAPI description and the tests all come from it.
"""
