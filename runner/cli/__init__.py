"""The command line: the only place that prints, reads the arguments and decides the exit code.

commands.py declares every command once (in the types of declaration.py); parser.py, help.py, completion.py
and docs/cli.md follow from it. main.py dispatches, endings.py makes every ending an exit code; command_*.py
do one subject each through services.py, show_*.py turn values into text, progress.py listens meanwhile.
"""
