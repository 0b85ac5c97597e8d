"""Runs a program of the house with the seconds of the eyes' rules divided: `python -m benchmarks.eyes_scaled MODULE …`.

What is divided is how long something has to last, or may. What a machine needs to answer is not: a computer does not
become thirty times as fast.
"""

import importlib
import importlib.util
import os
import pkgutil
import runpy
import sys
from datetime import timedelta
from types import ModuleType

SCALE = 30
# Constants of probes/, wherever they stand; the other spans come from site.yaml.
DIVIDED = frozenset(
    {
        *("BLIND_AFTER_S", "PERSON_WAIT"),
        *("FETCH_EVERY_S", "AGAIN_AFTER_S", "AGAIN_AFTER_MAX_S"),
        *("REFERENCE_TIMEOUT_S", "REFERENCE_FRESH_S"),
        *("LOGIN_EVERY", "FREEZE", "PROVEN_FOR", "FUTURE_S_MAX"),
    }
)
# Programs that need Django before the rooms can be imported.
WITH_DJANGO = ("gunicorn", "statuspage.clock")


def scale(module: ModuleType) -> list[str]:
    """Divide the spans of one module; return their names."""
    names = sorted(DIVIDED & vars(module).keys())
    for name in names:
        value = vars(module)[name]
        if not isinstance(value, int | float | timedelta):
            raise TypeError(f"{module.__name__}.{name} is no span of time")
        setattr(module, name, value / SCALE)
    return names


def prepare(program: str) -> dict[str, list[str]]:
    """Import what the program will use of the eyes and divide it; return the names by module."""
    if program in WITH_DJANGO:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "statuspage.settings")
        import django

        django.setup()
        for name in ("services", "acting", "clock", "views"):
            importlib.import_module(f"probes.{name}")
    else:
        importlib.import_module(_program(program))
    kinds = importlib.import_module("probes.kinds")
    for each in pkgutil.iter_modules(kinds.__path__):
        importlib.import_module(f"probes.kinds.{each.name}")
    eyes = [module for name, module in sys.modules.items() if name.split(".")[0] == "probes"]
    found = {module.__name__: scale(module) for module in eyes}
    return {name: names for name, names in found.items() if names}


def _program(name: str) -> str:
    """Return the module that holds main(), also when the program is a package."""
    found = importlib.util.find_spec(name)
    return f"{name}.__main__" if found and found.submodule_search_locations else name


def main() -> None:
    program = sys.argv[1]
    for module, names in prepare(program).items():
        print(f"divided by {SCALE}: {module} {' '.join(names)}", file=sys.stderr, flush=True)
    sys.argv = sys.argv[1:]
    if program == "gunicorn":
        # Its workers are forks of this process: what was divided here is divided there.
        importlib.import_module("gunicorn.app.wsgiapp").run()
    elif program in WITH_DJANGO:
        runpy.run_module(program, run_name="__main__")
    else:
        code = sys.modules[_program(program)].main()
        sys.stdout.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
