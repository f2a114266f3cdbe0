"""The storage of studies: a folder, which machines may share, or a bucket of an object store.

`places` chooses between them; all other packages work on a study's folder on this machine. For a
bucket that folder is a working copy: `bucket_study` synchronises it, and nothing counts as saved
before it is in the bucket.
"""
