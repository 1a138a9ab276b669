"""When tasks are due: expressions and calendars, pure. No clock is read and nothing is started here."""
