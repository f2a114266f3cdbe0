"""Where studies live: a folder, which several machines may share, or a bucket of an object store.

`places` says which; everything else works on a study's folder on this machine. In a bucket that is
a working copy: `study` keeps the bucket's side of it, and nothing counts before it is there.
"""
