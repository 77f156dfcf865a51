"""Headers of weights by range requests: against a server on this machine that serves, ignores, lies and stalls."""

from __future__ import annotations

import json
import struct
import time
from pathlib import Path

import pytest
from played_hub import PlayedHub, run_client, serving

ROOT = Path(__file__).parents[2]
COMMIT = "abc1234" + "0" * 33
HEADER_BYTES = 100_000
"""What is asked for first."""


class Hub(PlayedHub):
    """Plays the hub. What a repository does is in its name; its files are those of a folder."""

    protocol_version = "HTTP/1.1"

    def answer(self):
        _, _, name, _, revision, *path = self.path.split("/")
        path = "/".join(path)
        self.server.asked.append((self.command, name, revision, path, self.headers.get("Range")))
        kind = name.partition("_")[0]
        data = self.data(name, path)
        if data is None:
            self.reply(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        elif kind == "gated" and path != "config.json":
            self.reply(403, {"X-Error-Code": "GatedRepo"})
        elif kind in ("limited", "broken") and path != "config.json":
            self.reply({"limited": 429, "broken": 500}[kind], {}, b"x" * 10)
        elif kind == "endless" and path != "config.json":
            self.pour(500, {}, 1 << 40)
        elif path == "config.json" or self.headers.get("Range") is None:
            self.reply(200, {"X-Repo-Commit": COMMIT, "ETag": '"1"'}, data)
        else:
            self.range(kind, name, data)

    def data(self, name, path):
        if name.startswith("virtual"):  # 8 GB of zeros after a header
            return b"{}" if path == "config.json" else self.server.virtual if path == "model.safetensors" else None
        file = self.server.files / name.rpartition("_")[2] / path
        return file.read_bytes() if file.is_file() else None

    def range(self, kind, name, data):
        first, last = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
        size = 8 << 30 if name.startswith("virtual") else len(data)
        if kind == "stalls":
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{min(last, size - 1)}/{size}")
            self.send_header("Content-Length", str(min(last, size - 1) - first + 1))
            self.end_headers()
            self.wfile.flush()
            time.sleep(30)
        elif kind == "ignores" or name == "virtual_ignores":
            self.pour(200, {}, size, data)
        elif kind == "unsized":
            self.reply(206, {"Content-Range": f"bytes {first}-{last}/*"}, data[first : last + 1])
        elif kind == "shifted":
            self.reply(206, {"Content-Range": f"bytes 7-{last}/{size}"}, data[7 : last + 1])
        elif kind == "inflated":  # it says that the file is longer than it is
            part = data[first : last + 1]
            self.reply(206, {"Content-Range": f"bytes {first}-{first + len(part) - 1}/{size + 50}"}, part)
        elif kind == "short":  # it says the right size, and sends half
            part = data[first : first + (min(last, size) - first) // 2]
            self.reply(206, {"Content-Range": f"bytes {first}-{last}/{size}"}, part)
        elif kind == "generous":  # it sends all there is, whatever was asked for
            self.pour(206, {"Content-Range": f"bytes {first}-{size - 1}/{size}"}, size - first, data[first:])
        elif first >= size:
            self.reply(416, {"Content-Range": f"bytes */{size}"})
        else:
            part = data[first : last + 1]
            self.reply(206, {"Content-Range": f"bytes {first}-{first + len(part) - 1}/{size}"}, part)

    def pour(self, status, headers, nbytes, data=b""):
        """Send bytes until all are sent, or the other side has closed."""
        self.close_connection = True
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(nbytes)}.items():
            self.send_header(key, value)
        self.end_headers()
        try:
            self.wfile.write(data)
            for _ in range(max(0, nbytes - len(data)) >> 16):
                self.wfile.write(bytes(1 << 16))
                self.server.poured += 1 << 16
                if self.server.poured > 1 << 28:  # a client that takes this much takes everything
                    return
        except OSError:
            pass


CLIENT = """
import json, sys
from explorer.core.errors import ParamxError
from explorer.core.loading import OpenSpec
from explorer.sources import hub_fetch, hub_weights, open_served
told = {}
for name, options in json.load(sys.stdin).items():
    hub_fetch.HUB_SECONDS = options.pop("seconds", 20.0)
    hub_weights.ALL_SECONDS = options.pop("all_seconds", 60.0)
    stages = []
    try:
        opened = open_served(OpenSpec(options.pop("target", "org/" + name), weights=True, **options), stages.append)
        model = opened.model
        told[name] = {
            "tensors": len(model), "total": model.total, "kind": model.origin.kind, "class": model.origin.class_name,
            "description": model.origin.description, "names": list(model.names), "target": model.origin.target,
            "findings": {finding.id: finding.message for finding in model.findings}, "stages": stages,
            "shards": sorted({str(shard) for shard in model.shards}),
        }
    except ParamxError as error:
        told[name] = error.line
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Repositories as folders, made by the real writers."""
    import torch
    import transformers
    from safetensors.torch import save_file

    root = tmp_path_factory.mktemp("files")
    config = transformers.GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=60, n_positions=8)
    model = transformers.GPT2LMHeadModel(config)
    model.save_pretrained(root / "gpt2")
    model.save_pretrained(root / "sharded", max_shard_size="8KB")
    text = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    experts = transformers.MixtralConfig(vocab_size=60, num_local_experts=4, num_key_value_heads=2, **text)
    transformers.MixtralForCausalLM(experts).save_pretrained(root / "mixtral")
    for name in ("odd", "noconfig", "quantized", "damaged", "empty", "long"):
        (root / name).mkdir()
    (root / "odd" / "config.json").write_text('{"model_type": "nonsense"}')
    quantized = {
        **json.loads((root / "gpt2/config.json").read_text()),
        "quantization_config": {"quant_method": "gptq"},
    }
    (root / "quantized" / "config.json").write_text(json.dumps(quantized))
    for name in ("odd", "noconfig", "quantized"):
        (root / name / "model.safetensors").write_bytes((root / "gpt2/model.safetensors").read_bytes())
    for name in ("damaged", "empty", "long"):
        (root / name / "config.json").write_bytes((root / "gpt2/config.json").read_bytes())
    (root / "damaged" / "model.safetensors").write_bytes(struct.pack("<Q", 1 << 60) + b"{}" * 100)
    (root / "empty" / "model.safetensors").write_bytes(b"")
    many = {f"layer.{at}.a_name_that_is_rather_long_for_a_tensor.weight": torch.zeros(2) for at in range(2_000)}
    save_file(many, root / "long" / "model.safetensors")
    (root / "pickled").mkdir()
    (root / "pickled" / "config.json").write_bytes((root / "gpt2/config.json").read_bytes())
    missing = root / "missing"
    missing.mkdir()
    for file in (root / "sharded").iterdir():
        if "00002-of" not in file.name:
            (missing / file.name).write_bytes(file.read_bytes())
    return root


WANTED = {
    **{f"fine_{name}": {} for name in ("gpt2", "sharded", "mixtral", "odd", "noconfig", "quantized", "long")},
    **{f"fine_{name}": {} for name in ("damaged", "empty", "pickled", "missing")},
    **{f"{kind}_gpt2": {} for kind in ("ignores", "generous", "unsized", "shifted", "inflated")},
    **{f"{kind}_gpt2": {} for kind in ("gated", "limited", "broken", "endless")},
    "ignores_long": {},
    "short_long": {},
    "ignores_sharded": {},
    "gated_sharded": {},
    "stalls_gpt2": {"seconds": 1.0},
    "stalls_long": {"seconds": 20.0, "all_seconds": 1.0},
    "virtual": {},
    "virtual_ignores": {},
    "offline": {"offline": True},
    "built in, offline": {"target": "gpt2", "offline": True},
    "path": {"target": "./here"},
    "revision": {"target": "org/fine_gpt2", "revision": "../x"},
}
"""What is asked of the played hub, and how."""


@pytest.fixture(scope="module")
def told(tmp_path_factory, files):
    """Every answer as paramx tells it, from one process: the endpoint is read at import."""
    entry = {"w": {"dtype": "F32", "shape": [(8 << 30) // 4 - 64], "data_offsets": [0, (8 << 30) - 256]}}
    text = json.dumps(entry).encode().ljust(248)
    virtual = struct.pack("<Q", len(text)) + text
    home = tmp_path_factory.mktemp("home")
    with serving(Hub, asked=[], files=files, poured=0, virtual=virtual) as server:
        told = run_client(CLIENT, WANTED, server.server_port, home)
    return {**told, "asked": server.asked, "poured": server.poured, "home": home}


def asked(told, name):
    return [(path, range_) for _, repo, _, path, range_ in told["asked"] if repo == name]


class TestHeaders:
    def test_a_repository_is_its_model_laid_over_the_headers(self, told):
        found = told["fine_gpt2"]
        assert (found["tensors"], found["class"], found["kind"]) == (28, "GPT2LMHeadModel", "transformers")
        assert found["description"] == "config and headers from the hub (abc1234)"
        assert found["target"] == "org/fine_gpt2"
        assert found["findings"] == {}

    def test_only_the_beginning_of_a_file_is_asked_for(self, told):
        paths = asked(told, "fine_gpt2")
        assert [range_ for path, range_ in paths if path == "model.safetensors"] == [f"bytes=0-{HEADER_BYTES - 1}"]

    def test_a_longer_header_takes_one_more_request(self, told, files):
        with (files / "long/model.safetensors").open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
        assert length > HEADER_BYTES
        ranges = [range_ for path, range_ in asked(told, "fine_long") if path == "model.safetensors"]
        assert ranges == [f"bytes=0-{HEADER_BYTES - 1}", f"bytes={HEADER_BYTES}-{length + 7}"]
        assert told["fine_long"]["tensors"] == 2_000

    def test_weights_are_never_fetched(self, told):
        assert told["virtual"]["tensors"] == 1
        assert told["virtual"]["total"] == (8 << 30) // 4 - 64
        stored = [path for path in told["home"].rglob("*") if path.is_file() and path.stat().st_size > 100_000]
        assert stored == []

    def test_shards_are_read_by_their_index_and_at_one_commit(self, told):
        found = told["fine_sharded"]
        assert (found["tensors"], found["findings"]) == (28, {})
        assert any("of" in stage and "shards" in stage for stage in found["stages"])
        revisions = {revision for _, repo, revision, path, _ in told["asked"] if repo == "fine_sharded"} - {"main"}
        assert revisions == {COMMIT}
        assert ("main", "model.safetensors") not in {
            (revision, path) for _, repo, revision, path, _ in told["asked"] if repo == "fine_sharded"
        }

    def test_a_missing_shard_leaves_the_rest(self, told):
        findings = told["fine_missing"]["findings"]
        assert "not in the repository" in findings["missing-shard"]
        assert "can't be read" in findings["file-and-model"]
        assert "missing-tensors" not in findings

    def test_experts_are_laid_over_as_from_a_directory(self, told):
        found = told["fine_mixtral"]
        assert found["findings"]["fused-experts"] == (
            "41 tensors in the file, 21 in the model: 24 parts of experts stacked to 4"
        )

    @pytest.mark.parametrize(
        ("name", "why"),
        [
            ("fine_odd", "has no model type 'nonsense'"),
            ("fine_noconfig", "no config.json"),
            ("fine_quantized", "quantized (gptq)"),
        ],
    )
    def test_where_no_model_can_be_laid_over_the_headers_are_shown(self, told, name, why):
        found = told[name]
        assert (found["tensors"], found["kind"], found["class"]) == (28, "safetensors", None)
        assert "from the hub" in found["description"]
        assert why in found["findings"]["no-skeleton"]

    def test_a_tie_that_can_not_be_looked_at_is_not_claimed(self, told):
        assert "tie-not-known" not in told["fine_gpt2"]["findings"], "it is saved once"


class TestServers:
    @pytest.mark.parametrize("name", ["ignores_gpt2", "ignores_long", "ignores_sharded", "generous_gpt2"])
    def test_one_that_sends_everything_is_not_listened_to(self, told, name):
        assert told[name]["tensors"] == (2_000 if "long" in name else 28)

    @pytest.mark.parametrize(
        ("name", "why"),
        [
            ("unsized_gpt2", "another part than it was asked for"),
            ("shifted_gpt2", "another part than it was asked for"),
            ("short_long", "the server sent less than it has"),
            ("gated_gpt2", "gated"),
            ("gated_sharded", "gated"),
            ("limited_gpt2", "limits your rate (429)"),
            ("broken_gpt2", "a problem of its own (500)"),
            ("endless_gpt2", "a problem of its own (500)"),
            ("stalls_gpt2", "did not answer in time"),
            ("stalls_long", "did not come within 1 s"),
            ("fine_damaged", "its header would have 1,152,921,504,606,846,976 bytes"),
            ("fine_empty", "the file is empty"),
            ("fine_pickled", "neither model.safetensors nor model.safetensors.index.json"),
            ("offline", "offline"),
            ("built in, offline", "its weights are in openai-community/gpt2 on the hub: not on"),
            ("path", "no such file or directory"),
            ("revision", "not a revision"),
        ],
    )
    def test_each_refusal_is_told_apart(self, told, name, why):
        assert isinstance(told[name], str), told[name]
        assert why in told[name]
        assert told[name].startswith(("org/", "./here", "gpt2: "))
        assert "\n" not in told[name]

    def test_a_length_that_can_not_be_costs_no_second_request(self, told):
        assert len([path for path, _ in asked(told, "fine_damaged") if path == "model.safetensors"]) == 1

    def test_a_file_that_is_shorter_than_the_server_says_is_told(self, told):
        assert "trailing-bytes" in told["inflated_gpt2"]["findings"]

    def test_no_answer_is_taken_whole(self, told):
        assert told["virtual_ignores"]["tensors"] == 1
        assert told["poured"] < 1 << 27, "of 8 GiB"

    def test_offline_asks_nothing(self, told):
        assert asked(told, "offline") == []
