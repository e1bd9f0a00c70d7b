"""The resource DeepseekJob: its spec (job.py), its status (status.py), and the config made from it (config.py)."""
