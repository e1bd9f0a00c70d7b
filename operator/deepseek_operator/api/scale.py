"""What a running job may be scaled to, by `dsj scale` and the client; the API server judges its own changes."""

from deepseek_operator.api.job import MAX_SERVERS, MAX_WORKERS, DeepseekJob


def check_scale(job: DeepseekJob, workers: int | None, servers: int | None) -> None:
    """None: as they are. Raises ValueError, for people."""
    bounds = job.spec.workers
    most = bounds.max if bounds.max is not None else MAX_WORKERS
    if workers is not None and not bounds.min <= workers <= most:
        raise ValueError(f"{workers} workers: spec.workers allows {bounds.min} to {most}")
    if servers is not None and not 1 <= servers <= MAX_SERVERS:
        raise ValueError(f"{servers} servers: a job has 1 to {MAX_SERVERS}")
    if servers == 1 and job.spec.servers.backup:
        raise ValueError("1 server: spec.servers.backup needs a second one, which holds what the first one has")
