"""A real member as it is in a pod: its own folder begins empty and ends with it, and what is counted lies in the store.

python pod_like.py server|worker      (instead of `python -m deepseek_runtime.server`)
"""

import os
import sys
import tempfile
from pathlib import Path

from deepseek_runtime.contract.config import load_config
from deepseek_runtime.contract.names import ENV_CONFIG


def main() -> int:
    role = sys.argv[1]
    with tempfile.TemporaryDirectory(prefix="pod-") as folder:
        config = load_config(os.environ[ENV_CONFIG])
        config = config.model_copy(update={"data_dir": folder, "keep_journals": True})
        document = Path(folder) / "config.json"
        document.write_text(config.model_dump_json())
        os.environ[ENV_CONFIG] = str(document)
        if role == "server":
            from deepseek_runtime import server

            return server.main()
        from deepseek_runtime import worker

        return worker.main()


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
