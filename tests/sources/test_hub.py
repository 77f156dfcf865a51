"""Where a target is found, in which order, and how each of the hub's refusals reads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from played_hub import PlayedHub, run_client, serving

from explorer.core.errors import ParamxError
from explorer.core.loading import OpenSpec
from explorer.sources import hub, hub_cache, open_served

ROOT = Path(__file__).parents[2]
COMMIT = "abc1234" + "0" * 33
OTHER = "def5678" + "1" * 33
CONFIG = {
    "model_type": "bert",
    "architectures": ["BertModel"],
    "hidden_size": 8,
    "num_attention_heads": 2,
    "num_hidden_layers": 1,
    "vocab_size": 10,
    "intermediate_size": 16,
}
REMOTE = {**CONFIG, "model_type": "odd", "auto_map": {"AutoConfig": "code.C", "AutoModel": "code.M"}}


def ask(target, **options):
    return hub.find(OpenSpec(target, **options), lambda text: None)


def refusal(target, **options):
    with pytest.raises(ParamxError) as caught:
        ask(target, **options)
    line = caught.value.line
    assert line.isprintable()
    return line


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty hub cache, offline, in a directory with nothing in it."""
    for name in ("HF_HOME", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "hub"


def put(cache, repo_id, commit=COMMIT, ref="main", config=CONFIG):
    folder = cache / f"models--{repo_id.replace('/', '--')}"
    (folder / "snapshots" / commit).mkdir(parents=True)
    (folder / "snapshots" / commit / "config.json").write_text(json.dumps(config))
    if ref:
        (folder / "refs" / ref).parent.mkdir(parents=True, exist_ok=True)
        (folder / "refs" / ref).write_text(commit)
    return folder / "snapshots" / commit


class TestOrder:
    def test_a_directory_comes_before_the_cache(self, cache):
        put(cache, "org/model")
        Path("org/model").mkdir(parents=True)
        Path("org/model/config.json").write_text(json.dumps(CONFIG))
        assert ask("org/model").description == "config.json, no weights"

    def test_the_cache_comes_before_a_built_in(self, cache):
        put(cache, "gpt2")
        assert ask("gpt2").description == "cached snapshot abc1234, no weights"

    def test_a_moved_repository_is_found_in_the_cache_by_either_name(self, cache):
        put(cache, "FacebookAI/roberta-base")
        assert ask("roberta-base").description == "cached snapshot abc1234, no weights"

    def test_an_old_cached_name_is_found_by_the_new_one(self, cache):
        put(cache, "roberta-base")
        assert ask("FacebookAI/roberta-base").description == "cached snapshot abc1234, no weights"

    def test_a_built_in_comes_before_the_hub(self):
        assert ask("roberta-base").description == "built-in architecture, no weights"
        assert ask("FacebookAI/roberta-base").description == "built-in architecture, no weights"

    def test_a_revision_never_means_a_built_in(self):
        assert "offline" in refusal("roberta-base", revision="v1", offline=True)

    def test_a_folder_without_a_config_does_not_hide_a_name(self):
        Path("gpt2").mkdir()
        assert ask("gpt2").description == "built-in architecture, no weights"


class TestCache:
    def test_a_revision_is_a_branch_a_tag_or_a_commit(self, cache):
        put(cache, "org/model")
        put(cache, "org/model", OTHER, "refs/pr/3")
        assert "abc1234" in ask("org/model").description
        assert "def5678" in ask("org/model", revision="refs/pr/3").description
        assert "def5678" in ask("org/model", revision=OTHER).description
        assert "def5678" in ask("org/model", revision="def5678").description
        assert "offline" in refusal("org/model", revision="v2", offline=True)

    def test_a_snapshot_without_the_code_that_may_run_is_not_enough(self, cache, monkeypatch):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        folder = put(cache, "org/model", config=REMOTE)
        assert ask("org/model").directory == folder
        assert "HF_HUB_OFFLINE is set" in refusal("org/model", trust_remote_code=True)
        (folder / "code.py").write_text("")
        assert ask("org/model", trust_remote_code=True).directory == folder

    @pytest.mark.parametrize("revision", ["../../x", "", ".", "..", "a/../b", "/etc", "a b", "x\x1b[31m"])
    def test_an_odd_revision_is_refused_before_the_disk_is_asked(self, revision):
        assert "not a revision" in refusal("org/model", revision=revision)

    def test_a_ref_that_leads_elsewhere_is_not_followed(self, cache):
        put(cache, "org/model")
        (cache / "models--org--model/refs/main").write_text("../../other")
        assert hub_cache.snapshot("org/model") is None

    def test_ours_finds_what_the_hub_library_finds(self, cache):
        from huggingface_hub import try_to_load_from_cache

        path = put(cache, "org/model")
        put(cache, "org/model", OTHER, "v2")
        for revision in (None, "main", "v2", OTHER, "v3"):
            theirs = try_to_load_from_cache("org/model", "config.json", cache_dir=cache, revision=revision)
            ours = hub_cache.snapshot("org/model", revision)
            assert (str(ours / "config.json") if ours else None) == theirs
        assert hub_cache.snapshot("org/model") == path

    @pytest.mark.parametrize(
        "environment",
        [
            {},
            {"HF_HOME": "/a"},
            {"HF_HUB_CACHE": "/b/$USER"},
            {"HUGGINGFACE_HUB_CACHE": "~/c"},
            {"XDG_CACHE_HOME": "/d"},
            {"HF_HOME": "~/e", "XDG_CACHE_HOME": "/d"},
            {"HF_HOME": "/a", "HF_HUB_CACHE": "/b"},
            {"HF_HOME": "~no such user/a"},
        ],
    )
    def test_the_cache_lies_where_the_hub_library_puts_it(self, environment, monkeypatch):
        monkeypatch.delenv("HF_HUB_CACHE")
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        code = "from huggingface_hub import constants; print(constants.HF_HUB_CACHE)"
        theirs = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        assert str(hub_cache.cache_root()) == theirs


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://hub.test/org/name", "org/name"),
        ("https://hub.test/org/name/", "org/name"),
        ("https://hub.test/org/name/tree/main", "org/name"),
        ("hf://org/name", "org/name"),
        ("https://hub.test/datasets/org/name", None),
        ("https://hub.test/org/name/resolve/main/model.safetensors", None),
        ("https://other.test/org/name", None),
        ("s3://org/name", None),
    ],
)
def test_the_address_of_a_model_s_page_means_the_model(address, name, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "https://hub.test")
    with pytest.raises(ParamxError) as caught:  # there is no such model
        open_served(OpenSpec(address, offline=True), print)
    assert caught.value.what == (name or address)
    assert ("an address" in caught.value.line) == (name is None)


class TestPaths:
    @pytest.mark.parametrize(
        "target", ["./nowhere", "/nowhere/at/all", "nowhere.json", "a/b/c", "~/nowhere-x", "..", "x\\y"]
    )
    def test_a_path_is_never_asked_of_the_hub(self, target):
        assert hub.looks_like_path(target)
        assert "no such file" in refusal(target) or "no config.json" in refusal(target)

    def test_a_file_that_is_called_as_a_model_is_does_not_hide_it(self):
        Path("gpt2").write_text("my notes")
        assert ask("gpt2").description == "built-in architecture, no weights"

    def test_an_adapter_says_what_it_is(self):
        Path("lora").mkdir()
        Path("lora/adapter_config.json").write_text("{}")
        assert "an adapter, not a whole model" in refusal("./lora")

    def test_a_path_has_no_revisions(self):
        Path("config.json").write_text(json.dumps(CONFIG))
        assert "no revisions" in refusal(".", revision="main")

    def test_a_near_file_is_offered(self):
        Path("config.json").write_text("{}")
        assert refusal("./confg.json") == "./confg.json: no such file or directory; did you mean config.json?"

    def test_a_config_by_any_name_opens(self):
        Path("my.json").write_text(json.dumps(CONFIG))
        found = ask("my.json")
        assert (found.description, found.directory) == ("config.json, no weights", None)

    def test_a_directory_without_a_config_says_so(self):
        Path("empty").mkdir()
        assert "no config.json" in refusal("./empty")

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("", "the config is empty"),
            ("{", "not JSON"),
            ("[1]", "a JSON array, not an object"),
            ("null", "a JSON null, not an object"),
            ("true", "a JSON boolean, not an object"),
            ('"x"', "a JSON string, not an object"),
            ("[" * 100_000, "nested too deeply"),
            ('"\\u001b[31m', "not JSON"),
        ],
    )
    def test_a_broken_config_is_told_in_one_line(self, text, why):
        Path("config.json").write_text(text)
        assert why in refusal("./config.json")

    def test_bytes_that_are_no_text(self):
        Path("config.json").write_bytes(b"\xff\xfe\x00{")
        assert "not UTF-8" in refusal(".")

    @pytest.mark.parametrize(
        ("name", "data", "why"),
        [
            ("model.onnx", b"\x08\x07", "an ONNX graph, which paramx does not read; give a .safetensors"),
            ("notes.txt", b"hello", "neither a checkpoint nor a config; give a .safetensors"),
            ("program", b"\x7fELF\2", "neither a checkpoint nor a config; give a .safetensors"),
        ],
    )
    def test_a_file_of_no_format_that_is_read_is_told_which_are(self, name, data, why):
        Path(name).write_bytes(data)
        assert why in refusal(f"./{name}")

    def test_a_pipe_is_not_waited_for(self):
        os.mkfifo("config.json")
        assert "not a regular file" in refusal(".")

    def test_an_unreadable_config(self):
        Path("config.json").symlink_to("loop.json")
        Path("loop.json").symlink_to("config.json")
        assert refusal("./loop.json")

    def test_a_control_character_never_reaches_the_terminal(self):
        assert "\\x1b" in refusal("./\x1b]52;c;x")

    @pytest.mark.parametrize(
        "target", ["", " ", "a\0b", "org/na me", "ü/model", "a--b", "x" * 300, "-x", "org/..", "a/b\n"]
    )
    def test_an_odd_id_is_refused_before_the_library_sees_it(self, target):
        assert "not a" in refusal(target)


# --- the hub, played by a server on the loopback --------------------------------------------------------------------

ANSWERS = {
    "gated": (403, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access to model is restricted"}),
    "gated-anonymous": (401, {"X-Error-Code": "GatedRepo"}),
    "missing": (404, {"X-Error-Code": "RepoNotFound"}),
    "private": (401, {"X-Error-Code": "RepoNotFound"}),
    "roberta-bsae": (401, {"X-Error-Code": "RepoNotFound"}),
    "no-revision": (404, {"X-Error-Code": "RevisionNotFound"}),
    "no-config": (404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}),
    "limited": (429, {"Retry-After": "60"}),
    "broken": (500, {}),
    "away": (503, {}),
    "not-a-hub": (200, {}),
    "bad-token": (401, {"X-Error-Message": "Invalid credentials in Authorization header"}),
}


class Hub(PlayedHub):
    """Answers as the hub does: a repository's name says which answer."""

    def answer(self):
        self.server.asked.append(self.path)
        name = self.path.removeprefix("/api/models").split("/")[2]
        if name == "stalled":
            time.sleep(30)
        status, headers = ANSWERS.get(name, (200, {"X-Repo-Commit": COMMIT, "ETag": f'"{len(self.path)}"'}))
        body = b""
        if name not in ANSWERS:
            body = self.file(name)
        self.reply(status, headers, body)

    def file(self, name):
        files = {"config.json": json.dumps(REMOTE if name == "coded" else CONFIG).encode(), "code.py": b"x = 1"}
        if self.path.startswith("/api/") and "/tree/" in self.path:
            listed = [{"type": "file", "path": path, "oid": "1", "size": len(text)} for path, text in files.items()]
            return json.dumps(
                [*listed, {"type": "file", "path": "model.safetensors", "oid": "2", "size": 9}]
            ).encode()
        if self.path.startswith("/api/"):
            names = [{"rfilename": path} for path in [*files, "model.safetensors"]]
            return json.dumps({"id": f"org/{name}", "sha": COMMIT, "siblings": names}).encode()
        return files[self.path.rpartition("/")[2]]


CLIENT = """
import json, sys
from explorer.core.errors import ParamxError
from explorer.core.loading import OpenSpec
from explorer.sources import hub, hub_fetch
told = {}
for name, options in json.load(sys.stdin).items():
    hub_fetch.HUB_SECONDS = options.pop("seconds", 10.0)
    try:
        found = hub.find(OpenSpec("org/" + name, **options), lambda text: None)
        told[name] = found.description
    except ParamxError as error:
        told[name] = error.line
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Every answer of the played hub as paramx tells it, from one process: the endpoint is read at import."""
    wanted = {name: {} for name in [*ANSWERS, "fine"]}
    wanted["no-revision"] = {"revision": "v9"}
    wanted["stalled"] = {"seconds": 1.0}
    wanted["coded"] = {"trust_remote_code": True}
    wanted["offline"] = {"offline": True}
    with serving(Hub, asked=[]) as server:
        told = run_client(CLIENT, wanted, server.server_port, tmp_path_factory.mktemp("home"))
    return {**told, "asked": server.asked}


class TestHub:
    def test_a_config_is_fetched_and_its_commit_told(self, told):
        assert told["fine"] == "config from the hub (abc1234), no weights"

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("gated", "gated"),
            ("gated-anonymous", "gated"),
            ("missing", "no such repository"),
            ("private", "hf auth login"),
            ("roberta-bsae", "did you mean roberta-base"),
            ("no-revision", "no revision v9"),
            ("no-config", "no config.json"),
            ("limited", "limits your rate (429)"),
            ("broken", "a problem of its own (500)"),
            ("away", "a problem of its own (503)"),
            ("not-a-hub", "not a hub"),
            ("bad-token", "token"),
            ("offline", "offline"),
            ("stalled", "did not answer within 1 s"),
        ],
    )
    def test_each_refusal_is_told_apart(self, told, name, text):
        assert text in told[name]
        assert told[name].startswith(f"org/{name}: ")
        assert "\n" not in told[name]

    def test_offline_asks_nothing(self, told):
        assert not any("offline" in path for path in told["asked"])

    def test_weights_are_never_fetched(self, told):
        assert told["coded"] == "config from the hub (abc1234), no weights"
        assert any(path.endswith("code.py") for path in told["asked"])
        assert not any("safetensors" in path for path in told["asked"])

    def test_no_connection_is_told(self, tmp_path):
        told = run_client(CLIENT, {"x": {}}, 9, tmp_path)
        assert "no connection to the hub" in told["x"]
        assert "Errno" not in told["x"]
