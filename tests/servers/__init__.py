"""Real servers for tests, one module a server: each is installed by .ci/run, started by a fixture on free ports, used,
and ended by its pid."""
