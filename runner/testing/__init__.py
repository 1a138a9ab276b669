"""The shipped test kit, for driver authors and for the runner's own tests.

memory (a location in memory, as rich or as poor as wanted), trees (small trees declared in one expression,
hostile names), manifest (an independent judge of a real folder), fake_clock, faults (scripted faults that
must fire), conformance (every promise of locations/protocol.py as a test). Import what is needed from its
module: nothing is loaded here.
"""
