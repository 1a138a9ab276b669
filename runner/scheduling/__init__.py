"""When tasks are due: expressions and calendars, pure. No clock is read and nothing is started here.

expressions (texts -> calendars), calendars (local times that come), zones (where clocks change), civil (local times ->
instants: the DST rule), quiet (hours in which nothing starts), timetable (a task's whole schedule), simulate (what
would happen) and timeline (a drawing of it). Slots are `Timetable`'s: `timetable_of(settings)` makes one.
"""
