"""Things to run against a Jobgate of your own."""
