"""The command `dsj` whose jobs have members that train nothing: run as a script, with the command's own arguments.

DSJ_TEST_TERMINAL=1: standard input becomes the controlling terminal, as in a shell, so that Ctrl-C is a signal.
"""

import fcntl
import os
import sys
import termios
from functools import partial
from pathlib import Path

from builders import fake_member
from deepseek_operator import launch
from deepseek_operator.cli.main import main
from deepseek_runtime.contract.config import Timing

FAKE = (sys.executable, "-P", str(Path(fake_member.__file__).absolute()))

if __name__ == "__main__":
    if os.environ.get("DSJ_TEST_TERMINAL"):
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    sys.argv[0] = "dsj"
    timing = Timing(registration_ttl=2.0, progress=0.1)
    launch.start = partial(launch.start, timing=timing, commands={"server": FAKE, "worker": FAKE})
    main()
