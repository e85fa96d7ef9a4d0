"""What a function's process runs before the official runtime client: its import path, and its death with its parent.

A third argument is a script to run then: where a test wants the function's process otherwise than it is on AWS.

Started as a script with `python -I -S`, so that the standard library is all that is on `sys.path` at first. It must not
import anything of this package.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent dies, however the parent dies (Linux only)."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        os._exit(1)  # it died before we asked


def main(parent: str, import_path: str, prelude: str = "") -> None:
    """Serve the function whose handler and Runtime API the environment names."""
    die_with_parent(int(parent))
    # The function's own code comes first, as /var/task does, then the layers, then the runtime; the standard library
    # comes after /var/task on Lambda, too.
    sys.path[:0] = [entry for entry in import_path.split(os.pathsep) if entry]
    sys.argv[1:] = []
    if prelude:
        runpy.run_path(prelude)
    from awslambdaric.__main__ import (  # type: ignore[import-untyped]  # noqa: PLC0415 - only importable now
        main as serve,
    )

    serve([sys.argv[0], os.environ["_HANDLER"]])


if __name__ == "__main__":
    main(*sys.argv[1:])
