"""Use cases: services, principal and arguments in, domain values out. Nothing here knows GraphQL."""
