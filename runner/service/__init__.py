"""`serve`: the process that runs tasks by themselves, for years: due slots, the queue, child processes, a socket.

dispatcher.py decides (no clock, no I/O of its own), queue.py says who may start, ledger.py remembers every slot,
clockwork.py is APScheduler, launcher.py and child.py are the executions, control.py and client.py the socket,
reload.py the configuration, loop.py ties them together in one thread.
"""
