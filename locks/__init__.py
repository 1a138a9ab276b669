"""Which packages exactly: locks with hashes, the bill of materials made from them, and what is known against them.

`.ci/lock` writes the locks and the bill of materials, `.ci/run` installs from them and audits them. Nothing here is
part of the installed program. docs/supply-chain.md tells the whole story.
"""
