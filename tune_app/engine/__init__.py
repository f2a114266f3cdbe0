"""The only place that knows Ray.

Ray and Tune read these settings when they are first imported, so they are made here, before any
module of this package imports them. What the user has set stays.
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
    # The journal holds all that Tune would snapshot.
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
}

LOOPBACK_ONLY = {
    # Its name tells where Ray sets it by itself: a cluster of one node then listens on loopback
    # alone. Elsewhere GCS, raylet and workers listen on every interface, if only for those who
    # have the token.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}


def stay_on_this_machine() -> None:
    """Keeps the servers of a local Ray off the network. Called before Ray is imported."""
    for name, value in LOOPBACK_ONLY.items():
        os.environ.setdefault(name, value)


for _name, _value in ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)
