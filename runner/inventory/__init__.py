"""A location -> a sorted stream of entries and problems, whatever order the driver lists in."""
