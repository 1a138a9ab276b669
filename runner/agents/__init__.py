"""Where batches run: in this process (inline) or in a pool of local worker processes (pool, worker).

Only typed JSON lines cross a process border; jobs are named, never sent as code. shared.py is the page of memory
through which a pool sees progress and tells its workers to stop; jobs.py opens the locations and does the work.
"""
