"""Two sorted streams of entries -> differences. Pure: nothing here touches a location.

compare (one pair of entries), merge (two streams in constant memory), links (hard-link groups), tally (counting).
"""
