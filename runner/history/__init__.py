"""What is remembered between executions: the state folder, the destinations' locks, and the SQL history.

state (the .sync-runner folder), lock (one writer per destination), process (is a recorded process gone?),
standing and freshness (how a task stands, without SQL), compare (two executions side by side), records (what history
answers with), store (the History itself), retention, database with its two backends sqlite and postgres, tables and
migrate (one module migration_NNNN per schema version). Only store and what it needs import SQLAlchemy: import that
when it is used.
"""
