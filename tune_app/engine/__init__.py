"""The only package that uses Ray.

Ray and Tune read these environment variables when they are first imported, so they are set here,
before any module of this package imports them. Values that the user has set are kept.
"""

import os

ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_MAX_PENDING_TRIALS_PG": "10000",
    # Tune's own snapshots are not needed: the journal holds everything.
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
}

LOOPBACK_ONLY = {
    # On Windows and macOS Ray sets this itself. With "0" a cluster is limited to one node, which
    # listens on loopback alone; otherwise GCS, raylet and workers listen on every interface,
    # although only clients with the token are served.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}


def stay_on_this_machine() -> None:
    """Makes a local Ray listen on loopback only. Call it before Ray is imported."""
    for name, value in LOOPBACK_ONLY.items():
        os.environ.setdefault(name, value)


for _name, _value in ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)
