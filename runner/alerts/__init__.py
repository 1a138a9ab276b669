"""What others are told of executions, and what they may do around them: hooks, pings, notifications, the digest.

around (the one door for the pipeline), hooks (programs of the user) with output (what they print, bounded) and
processes (ending them with all their children), occasions (what is worth telling; pure), pings (health-check URLs),
facts (a report as the values of a template), messages (templates -> subject and body), notify (messages to channels, by
Apprise), digest (the regular summary). Nothing here changes how an execution ends, but a hook of `before` that fails.
Apprise and Jinja2 are imported when there is something to say.
"""
