"""The service's small HTTP server: /metrics, /healthz, /readyz. It knows callables, not the service.

request (what a client sent; pure), respond (request -> answer; pure but for the callables), server (sockets and threads).
"""
