"""Opens every model type of the installed transformers from its default config, and says which do not open, and why.

    HF_HUB_OFFLINE=1 python tests/benchmarks/sweep_model_types.py [MODEL_TYPE …]

The floor is what transformers builds by itself on the meta device, with any class that it maps the type to. The row
that must be empty is `buildable but not opened by paramx`. Takes some minutes and is no part of the tests.
"""

from __future__ import annotations

import gc
import json
import re
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from contextlib import contextmanager
from pathlib import Path

from explorer.core.errors import ParamxError
from explorer.core.loading import OpenSpec
from explorer.core.wire import decode, encode
from explorer.sources import open_served

SECONDS = 60
"""Longest that one model type may take, each way."""


class TooSlow(BaseException):
    """A model type took longer than `SECONDS`; not an Exception, so that no source takes it for its own."""


@contextmanager
def deadline(seconds):
    def stop(*_):
        raise TooSlow

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def reason_of(error):
    """Return an error as one line without the names that differ from type to type, so that equal ones group."""
    if isinstance(error, ParamxError):
        why = error.remedy if error.remedy.startswith("pip install") else error.why
        return re.sub(r"\b[A-Z]\w*(?:Config|Model)\b|\b[A-Z]\w*For[A-Z]\w*", "…", why)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1][:160] if lines else ''}"


def build_plainly(config_class):
    """Build with transformers alone: AutoModel first, then any other class that the type is mapped to.

    Returns:
        `automodel`, `other`, or the reason why nothing built.
    """
    import torch
    from transformers.models.auto import modeling_auto

    reason = "no class is mapped"
    names = [name for name in dir(modeling_auto) if name.startswith("AutoModel")]
    for name in sorted(names, key=lambda name: (name != "AutoModel", name)):
        auto = getattr(modeling_auto, name)
        mapping = getattr(auto, "_model_mapping", None)
        if mapping is None or config_class not in mapping:
            continue
        try:
            with torch.device("meta"):
                auto.from_config(config_class(), trust_remote_code=False)
        except Exception as error:
            if reason == "no class is mapped":
                reason = reason_of(error)
        else:
            return "automodel" if name == "AutoModel" else "other"
    return reason


def open_with_paramx(config, folder):
    """Open as the worker does, over the wire and back; return the total and the class."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config, default=str))
    model = decode(encode(open_served(OpenSpec(str(folder)), lambda text: None).model))
    assert model.counters is not None
    assert model.counters.loop == model.total == sum(p.numel for p in model)
    return model.total, model.origin.class_name


def main():
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING, CONFIG_MAPPING_NAMES

    wanted = sys.argv[1:] or sorted(CONFIG_MAPPING_NAMES)
    opened, failed, plain = {}, {}, {}
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as root:
        for number, model_type in enumerate(wanted):
            try:
                with deadline(SECONDS):
                    config_class = CONFIG_MAPPING[model_type]
                    config = {**config_class().to_dict(), "model_type": model_type}
            except (Exception, TooSlow) as error:
                plain[model_type] = failed[model_type] = f"no default config: {reason_of(error)}"
                continue
            try:
                with deadline(SECONDS):
                    plain[model_type] = build_plainly(config_class)
            except TooSlow:
                plain[model_type] = f"more than {SECONDS} s"
            try:
                with deadline(SECONDS):
                    opened[model_type] = open_with_paramx(config, Path(root, str(number)))
            except TooSlow:
                failed[model_type] = f"more than {SECONDS} s"
            except Exception as error:
                failed[model_type] = reason_of(error)
            gc.collect()
            if number % 50 == 49:
                print(
                    f"… {number + 1} of {len(wanted)}, {time.monotonic() - started:.0f} s",
                    file=sys.stderr,
                    flush=True,
                )

    builds = Counter(how if how in ("automodel", "other") else "none" for how in plain.values())
    print(f"model types                          {len(wanted)}")
    print(
        f"build in plain transformers          {builds['automodel'] + builds['other']}"
        f" ({builds['automodel']} with AutoModel, {builds['other']} with another class)"
    )
    print(f"opened by paramx                     {len(opened)}")
    short = sorted(name for name in failed if plain[name] in ("automodel", "other"))
    print(f"buildable but not opened by paramx   {len(short)}")
    for name in short:
        print(f"    {name}: {failed[name]}")
    print(f"seconds                              {time.monotonic() - started:.0f}")
    print("not opened, by reason:")
    groups = defaultdict(list)
    for name, reason in failed.items():
        groups[reason].append(name)
    for reason, names in sorted(groups.items(), key=lambda item: -len(item[1])):
        shown = ", ".join(names[:6]) + (f", … {len(names) - 6} more" if len(names) > 6 else "")
        print(f"  {len(names):4}  {reason}\n        {shown}")
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
