"""Hyper-parameter search for Hugging Face training runs on Ray Tune."""

__version__ = "0.1.0"
