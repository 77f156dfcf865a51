"""The corpus's configs, file-system objects, hub ids and patterns."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cases import ERROR, NAMES, OK, WARN, Case, Make
from checkpoint_files import entry, safetensors_bytes, written

GOOD = safetensors_bytes({"w": entry(0, 4)}, bytes(4))

SMALL = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8, "vocab_size": 8}
"""Sizes of a model that is built at once."""

SIZES = {
    ("num_hidden_layers", "0"): OK,
    ("num_hidden_layers", "-1"): WARN,
    ("num_attention_heads", "-1"): WARN,
    ("intermediate_size", "0"): OK,
    ("intermediate_size", str(1 << 40)): OK,
    ("vocab_size", str(1 << 40)): OK,
}
"""What transformers builds all the same: no layers, layers of no size, tables of 8 TiB that nobody allocates. All
other odd sizes are an error."""


def config(content: object, name: str = "config.json", **files: str) -> Make:
    """Write a directory with a config and other files; a content of bytes is the very text."""

    def make(folder: Path) -> Path:
        text = content if isinstance(content, bytes) else json.dumps(content).encode()
        written(folder / name, text)
        for other, code in files.items():
            written(folder / f"{other}.py", code.replace("RAN", repr(str(folder / "ran"))).encode())
        return folder

    return make


def configs() -> Iterator[Case]:
    """Yield configs that lie, run code, or ask for a billion layers."""

    def case(name: str, expected: str, make: Make, told: str = "", **limits: Any) -> Case:
        return Case("config", name, expected, make, told, **limits)

    bert: dict[str, Any] = {"model_type": "bert", "architectures": ["BertModel"], **SMALL}
    code = "open(RAN, 'w')\nclass C: pass\nclass M: pass\n"
    yield case("good", OK, config(bert))
    remote = {"AutoConfig": "evil.C", "AutoModel": "evil.M"}
    yield case("auto_map", ERROR, config({"auto_map": remote}, evil=code), "--trust-remote-code")
    yield case("auto_map of a known type", OK, config(bert | {"auto_map": remote}, evil=code), "not run")
    yield case(
        "auto_map of an unknown type",
        ERROR,
        config({"model_type": "evil", "auto_map": {"AutoConfig": "evil.C"}}, evil=code),
    )
    elsewhere = {"AutoModel": "someone/else--evil.M"}
    unknown = {"model_type": "evil", "auto_map": elsewhere}
    yield case("auto_map of an unknown type without a config", ERROR, config(unknown), "--trust-remote-code")
    for quantized in ({"quant_method": "\x1b[2J"}, {"quant_method": ["evil"]}, {"load_in_4bit": True}):
        content = bert | {"quantization_config": quantized}
        yield case(f"quantization_config: {quantized}", OK, config(content), "quantized")
    yield case("auto_map of another repository", OK, config(bert | {"auto_map": elsewhere}), "not run")
    yield case("auto_map of a list", OK, config(bert | {"auto_map": ["evil.M"]}, evil=code), "not run")
    for kind in (
        "../../evil",
        "/etc/passwd",
        "evil",
        "os",
        "\x1b[2J",
        "bert\0",
        "",
        "a" * 100_000,
        "__init__",
        "bert.modeling_bert",
    ):
        yield case(f"model_type {kind[:20]!a}", ERROR, config({"model_type": kind, **SMALL}, evil=code))
    for odd in (None, 5, ["bert"], {"a": 1}, True):
        yield case(f"model_type of {odd!r}", ERROR, config({"model_type": odd, **SMALL}))
    for architecture in (
        "os.system",
        "PreTrainedModel",
        "AutoModel",
        "BertConfig",
        "logging",
        "__builtins__",
        "../evil",
        "\x1b[31m",
        "Trainer",
        "pipeline",
    ):
        fits = architecture == "AutoModel"  # which transformers maps to BertModel
        yield case(
            f"architecture {architecture!a}", OK if fits else ERROR, config(bert | {"architectures": [architecture]})
        )
    for odd in (5, "BertModel", [5], [None], {"a": 1}, [["BertModel"]], [""]):
        yield case(f"architectures of {odd}", WARN, config(bert | {"architectures": odd}), "no list of class names")
    yield case("100,000 architectures", OK, config(bert | {"architectures": ["BertModel"] * 100_000}))
    for key in SMALL:
        for value in (-1, 0, 1.5, float("nan"), float("inf"), "8", None, [8], 1 << 40, 1 << 70, True):
            yield case(f"{key} of {value!r}", SIZES.get((key, repr(value)), ERROR), config(bert | {key: value}))
    yield case("a billion layers", ERROR, config(bert | {"num_hidden_layers": 1_000_000_000}))
    yield case(
        "a billion layers of another name",
        ERROR,
        config({"model_type": "gpt2", "n_layer": 1_000_000_000, "n_embd": 8, "n_head": 1}),
    )
    for key, value in {
        "num_hidden_groups": 1_000_000_000,
        "layers": {"num_layers": [3, 1e18]},
        "depths": [1] * 1_000_000,
        "conv_dim": [1] * 1_000_000,
        "num_codebooks": 10**9,
        "num_hidden_layers": 10_001,
        "attn_layers": ["local"] * 20_000,
        "hybrid_override_pattern": "M" * 20_000,
        "num_experts": 10_000,
        "num_self_attends_per_block": 10**9,
        "num_block_repeats": [10**9],
        "block_sizes": [99_999],
        "stage_depths": [9_999] * 1_000,
        "stage_blocks": [-(1 << 2000), 0.5, 1e300],
    }.items():
        yield case(
            f"too many {key}", ERROR, config(bert | {"num_hidden_layers": 30} | {key: value}), "no model has so many"
        )
    for name, sizes in {
        "perceiver": {"num_blocks": 10**6, "num_self_attends_per_block": 10**6},
        "funnel": {"block_sizes": [10**6] * 3},
        "efficientnet": {"num_block_repeats": [10**6] * 7},
    }.items():
        yield case(f"a {name} of a million", ERROR, config({"model_type": name} | sizes), "no model has so many")
    # None of its numbers is too large: blocks times coefficient are. The count of what is built ends it.
    yield case(
        "an efficientnet of a million times its depth",
        ERROR,
        config({"model_type": "efficientnet", "depth_coefficient": 1e6}),
        "no model has so many",
        seconds=60.0,
    )
    yield case(
        "a billion labels",
        ERROR,
        config(bert | {"architectures": ["BertForSequenceClassification"], "num_labels": 1_000_000_000}),
    )
    backbone = {"model_type": "detr", "use_timm_backbone": False, "backbone": "someone/net"}
    # transformers asks the hub for the backbone's config as it makes the config.
    yield case("a backbone of the hub", ERROR, config(backbone | {"use_pretrained_backbone": True}))
    image = {"model_type": "vit", "image_size": 10**9, "patch_size": 1, **SMALL}
    yield case("more parameters than any model's", ERROR, config(image), "more than any")
    endless = {"max_position_embeddings": 10**13, "hidden_size": 768, "num_attention_heads": 12}
    yield case("7.68 P parameters", ERROR, config(bert | endless), "7.68P parameters are more than any model's")
    overflow = 'Overflow when unpacking long long"'
    yield case("a size of 2^63", ERROR, config(bert | {"hidden_size": 1 << 63}), overflow)
    image = {"model_type": "vit", "image_size": 10**9, "patch_size": 1}
    yield case("an image of 10^9", ERROR, config(image), overflow)
    digits = json.dumps(bert)[:-1].encode() + b', "x": ' + b"9" * 5000 + b"}"
    yield case("an integer of 5,000 digits", ERROR, config(digits), "an integer of more than 4,300 digits")
    yield case("torch_dtype of os.system", ERROR, config(bert | {"torch_dtype": "os.system"}))
    yield case("dtype of controls", ERROR, config(bert | {"dtype": "\x1b[2J"}))
    yield case("an activation of os.system", ERROR, config(bert | {"hidden_act": "os.system"}))
    yield case(
        "quantization of nothing known",
        OK,
        config(bert | {"quantization_config": {"quant_method": "../evil", "load_in_4bit": True}}),
    )
    yield case("a name_or_path outside", OK, config(bert | {"_name_or_path": "/etc/passwd"}))
    yield case("an attention of the hub", OK, config(bert | {"_attn_implementation": "someone/kernel"}))
    yield case("10,000 keys", OK, config(bert | {f"key {i}": i for i in range(10_000)}))
    for name, text in NAMES.items():
        if name not in ("10,000 characters", "1,000 levels", "huge number"):
            yield case(f"a key and a value of {name}", OK, config(bert | {f"x{text}": text}))
    for name, text in {
        "nothing": b"",
        "no JSON": b"{nonsense",
        "a list": b"[1]",
        "text": b'"bert"',
        "null": b"null",
        "invalid UTF-8": b'{"model_type":"\xff"}',
        "UTF-16": '{"model_type":"bert"}'.encode("utf-16"),
        "deep": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        "a long integer": b'{"a":' + b"9" * 1_000_000 + b"}",
        "an empty object": b"{}",
    }.items():
        yield case(f"a config of {name}", ERROR, config(text))
    good = json.dumps(bert).encode()
    yield case("a key twice", WARN, config(b'{"model_type":"os",' + good[1:]), "twice")
    yield case("a config of five million lists", ERROR, config(b'{"a":[' + b"[]," * 5_000_000 + b"[]]}"))
    yield case("a config of ten million numbers", ERROR, config(b'{"a":[' + b"1," * 10_000_000 + b"1]}"))
    yield case("a config of 64 MiB of blanks", ERROR, config(b"{" + b" " * (64 << 20) + good[1:]))

    def odd_config(make: Callable[[Path], object]) -> Make:
        def made(folder: Path) -> Path:
            (folder / "m").mkdir()
            make(folder / "m" / "config.json")
            return folder / "m"

        return made

    def large(path: Path) -> None:
        written(path, good)
        os.truncate(path, 1 << 30)

    def led_out(path: Path) -> None:
        path.symlink_to(written(path.parents[1] / "elsewhere.json", good))

    yield case("a pipe in a directory", ERROR, odd_config(os.mkfifo))
    yield case("a config of a gigabyte", ERROR, odd_config(large))
    yield case("a link to a device", ERROR, odd_config(lambda path: path.symlink_to("/dev/zero")))
    yield case("a link that leads out", ERROR, odd_config(led_out), "leads out")
    yield case("a link to itself", ERROR, odd_config(lambda path: path.symlink_to(path)))
    yield case("a directory", ERROR, odd_config(Path.mkdir))

    def weights(link: str = "", index: str = "") -> Make:
        def make(folder: Path) -> Path:
            (folder / "m").mkdir()
            written(folder / "m" / "config.json", good)
            if link:
                written(folder / "elsewhere.safetensors", GOOD)
                (folder / "m" / "model.safetensors").symlink_to(link)
            else:
                written(folder / "m" / "model.safetensors.index.json", index.encode())
            return folder / "m"

        return make

    yield case("weights that lead out", WARN, weights("../elsewhere.safetensors"), "leads out")
    yield case("weights that lead nowhere", WARN, weights("nowhere"), "leads nowhere")
    yield case("weights of a device", WARN, weights("/dev/zero"), "leads out")
    yield case("an index that leads out", WARN, weights(index='{"weight_map":{"w":"/etc/passwd"}}'), "not read")


def objects() -> Iterator[Case]:
    """Yield what is no regular file, or is one in the wrong place."""

    def case(name: str, expected: str, make: Make, told: str = "") -> Case:
        return Case("object", name, expected, make, told)

    def fifo(name: str) -> Make:
        def make(folder: Path) -> Path:
            os.mkfifo(folder / name)
            return folder / name

        return make

    def link(name: str, to: str) -> Make:
        def make(folder: Path) -> Path:
            (folder / name).symlink_to(to)
            return folder / name

        return make

    def listening(name: str) -> Make:
        def make(folder: Path) -> Path:
            there = Path.cwd()
            os.chdir(folder)  # the path of a socket has at most 107 bytes
            try:
                with socket.socket(socket.AF_UNIX) as unix:
                    unix.bind(name)
            finally:
                os.chdir(there)
            return folder / name

        return make

    def locked(name: str) -> Make:
        def make(folder: Path) -> Path:
            path = written(folder / name, GOOD)
            path.chmod(0)
            return path

        return make

    def folder_called(name: str) -> Make:
        def make(folder: Path) -> Path:
            (folder / name).mkdir()
            return folder / name

        return make

    def loop(folder: Path) -> Path:
        (folder / "a").mkdir()
        (folder / "a" / "b").symlink_to("..")
        return folder

    def crowded(folder: Path) -> Path:
        for i in range(3000):
            (folder / f"{i}.txt").touch()
        return folder

    for suffix in ("safetensors", "pt", "gguf", "json", "index.json", "distcp"):
        name = f"model.{suffix}" if suffix != "json" else "config.json"
        yield case(f"a pipe {name}", ERROR, fifo(name))
        yield case(f"a socket {name}", ERROR, listening(name))
        yield case(f"a link {name} to itself", ERROR, link(name, name))
        yield case(f"a link {name} to nothing", ERROR, link(name, "nothing"))
        yield case(f"a link {name} to a device", ERROR, link(name, "/dev/zero"))
        yield case(f"a directory {name}", ERROR, folder_called(name))
        # Root may read it all the same; two of them are then read by their content.
        reads = os.geteuid() == 0 and suffix in ("safetensors", "pt", "gguf")
        yield case(f"{name} that may not be read", OK if reads else ERROR, locked(name))
    for device in (
        "/dev/zero",
        "/dev/null",
        "/dev/random",
        "/dev/stdin",
        "/dev/tty",
        "/proc/self/mem",
        "/proc/kmsg",
        "/sys",
        "/",
        "/proc/self/fd",
    ):
        yield case(device, ERROR, lambda folder, device=device: device)  # type: ignore[misc]
    yield case("an empty directory", ERROR, lambda folder: folder)
    yield case("a directory loop", ERROR, loop)
    yield case("a crowded directory", ERROR, crowded)
    yield case("a path of 5,000 characters", ERROR, lambda folder: folder / ("x" * 5000))
    yield case("a path of 300 folders", ERROR, lambda folder: folder.joinpath(*["x"] * 300, "model.safetensors"))
    yield case("a path with a nul", ERROR, lambda folder: f"{folder}/a\0.safetensors")
    yield case("a path of controls", ERROR, lambda folder: f"{folder}/\x1b[2J.safetensors")
    yield case("a surrogate in a path", ERROR, lambda folder: f"{folder}/\udcff.safetensors")
    yield case("a file of controls", OK, lambda folder: written(folder / "\x1b[2J\n.safetensors", GOOD))
    yield case("a file of markup", OK, lambda folder: written(folder / "[bold].safetensors", GOOD))
    yield case("a file that starts with a dash", OK, lambda folder: written(folder / "--help.safetensors", GOOD))
    yield case("a file of bytes that are no text", OK, lambda folder: written(folder / "\udcff.safetensors", GOOD))


def beside() -> Iterator[Case]:
    """Yield checkpoints with a config beside them, of which the skeleton is laid over the file."""

    def case(name: str, expected: str, make: Callable[[Path], object], told: str = "") -> Case:
        def made(folder: Path) -> Path:
            (folder / "m").mkdir()
            make(folder / "m" / "config.json")
            return Path(written(folder / "m" / "x.safetensors", GOOD))

        return Case("beside", name, expected, made, told, skeleton=True)

    bert: dict[str, Any] = {"model_type": "bert", "architectures": ["BertModel"], **SMALL}

    def content(more: dict[str, Any], text: bytes = b"") -> Callable[[Path], object]:
        return lambda path: written(path, text or json.dumps(bert | more).encode())

    def led_out(path: Path) -> None:
        path.symlink_to(written(path.parents[1] / "elsewhere.json", json.dumps(bert).encode()))

    # The file itself is shown all the same, and what the config lacks is a hint.
    yield case("a config of another model", OK, content({}), "not laid over")
    yield case("a billion layers", OK, content({"num_hidden_layers": 10**9}), "no model has so many")
    yield case(
        "code of its own", OK, content({"model_type": "evil", "auto_map": {"AutoConfig": "evil.C"}}), "--trust"
    )
    yield case("no JSON", OK, content({}, b'{"model_type": '), "not JSON")
    yield case("a deep config", OK, content({}, b'{"model_type":' + b"[" * 200_000), "nested too deeply")
    yield case("controls", OK, content({"model_type": "\x1b[2J"}), "\\x1b[2J")
    yield case("a pipe", OK, os.mkfifo)
    yield case("a device", OK, lambda path: path.symlink_to("/dev/zero"))
    yield case("a link that leads out", OK, led_out)


def ids() -> Iterator[Case]:
    """Yield hub ids that are none."""
    odd = (
        "",
        " ",
        ".",
        "..",
        "/",
        "//",
        "~",
        "-",
        "--",
        "-rf",
        "a/b/c",
        "a/b/c/d",
        "/a/b",
        "a/",
        "../a",
        "a/../b",
        "a/..",
        "a\\b",
        "a b",
        "a\nb",
        "a\x1b[2J",
        "a\0b",
        "a:b",
        "a@b",
        "a#b",
        "a?b=c",
        "a%2e%2e/b",
        "https://huggingface.co/gpt2",
        "file:///etc/passwd",
        "s3://bucket/x",
        "ssh://host/x",
        "$(touch ran)",
        "`id`",
        ";ls",
        "|cat",
        "a&b",
        "a*b",
        "[x]",
        "\ud800",
        "\udcff",
        "\u202ea",
        "a\u200bb",
        "层/模型",
        "a" * 97,
        "a/" + "b" * 200,
        "x" * 100_000,
        "con",
        "nul.json",
        "model.safetensors.exe",
        "..json",
        "a--b",
        "a..b",
        ".git",
        "a.git",
        "None",
        "0",
        "1e9",
        "os:system",
        "os.path:join",
        "evil:run",
        ":",
        "a:",
        ":b",
        "__main__:main",
    )
    for text in odd:
        yield Case("id", ascii(text)[:60], ERROR, lambda folder, text=text: text)  # type: ignore[misc]


def patterns() -> Iterator[tuple[str, bool]]:
    """Yield terms, and whether each is one that can be used."""
    yield from (
        ("bias", True),
        ("", False),
        (" ", False),
        ("!", False),
        ("!!bias", False),
        ("re:", False),
        ("glob:", False),
        ("type:", False),
        ("re:(", False),
        ("re:[", False),
        ("re:*", False),
        ("re:(?P<a>", False),
        ("re:\\", False),
        ("re:(?<=a*)b", False),
        ("re:a{99999999999999999999}", False),
        ("re:(?:a{65535}){65535}", True),
        ("re:" + "(" * 5000 + ")" * 5000, False),
        ("re:" + "a?" * 900 + "a" * 900, False),
        ("re:" + "x" * 100_000, False),
        ("re:(\\w+\\.?)+z$", False),
        ("re:(a|aa)+$", False),
        ("re:(.*)*(.*)*(.*)*z$", False),
        ("re:(?i)[\\u0000-\\uffff]", True),
        ("re:\\N{BOGUS}", False),
        ("re:(?P<x>.)(?P=x)", True),
        ("re:(.)\\1", True),
        ("re:\\99", False),
        ("glob:" + "*" * 500 + "z", True),
        ("glob:[", True),
        ("glob:[!]", True),
        ("ndim<", False),
        ("ndim<-1", False),
        ("ndim<999999999999999999999", False),
        ("ndim<2.5", False),
        ("ndim=2", False),
        ("ndim<٣", False),
        ("\x1b[31m", True),
        ("\u202e", True),
        ("a\0b", True),
        ("[/foo]", True),
        ("n" * 1999, True),
        ("type:" + "*" * 200, True),
        ("type:[", True),
        ("!re:.*", True),
        ("!ndim<2", True),
        ("re:.", True),
        ("%s{0}", True),
    )
