"""What the GraphQL API looks like: types, inputs, roots, scalars and errors. Nothing is decided here."""
