"""A fake member that first starts two processes in sessions of their own, and lets them go.

Their pids stand in `<member>.let-go` in its job's folder: one with its environment, one with none.
"""

import os
import subprocess
import sys
from pathlib import Path

from builders.fake_member import FakeMember
from deepseek_runtime.contract.config import load_config
from deepseek_runtime.contract.names import ENV_CONFIG, ENV_EXIT_FILE

DAEMON = """\
import subprocess
nowhere = subprocess.DEVNULL
print(subprocess.Popen(["sleep", "300"], stdout=nowhere, stderr=nowhere, start_new_session=True).pid)
"""

if __name__ == "__main__":
    exit_file = Path(os.environ[ENV_EXIT_FILE])
    pids = []
    for environment in (dict(os.environ), {"PATH": os.environ["PATH"]}):
        # Its own parent ends at once, as a daemon's does.
        done = subprocess.run(
            [sys.executable, "-c", DAEMON], env=environment, stdout=subprocess.PIPE, text=True, check=True, timeout=60
        )
        pids.append(done.stdout.strip())
    (exit_file.parents[1] / f"{exit_file.stem}.let-go").write_text(" ".join(pids))
    sys.exit(FakeMember(load_config(os.environ[ENV_CONFIG])).run())
