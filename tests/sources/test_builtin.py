"""Built-in architectures: every file is whole, explicit, and builds the model whose size is published."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from explorer.sources import builtin
from explorer.sources.builtin import FAMILIES

FOLDER = Path(builtin.__file__).parent / "architectures"
FACTS = Path(__file__).parents[1] / "facts"
NAMES = builtin.names()

NAMED_BY_USERS = (
    "kantaibert",
    "roberta-base",
    "bert-base-uncased",
    "distilbert-base-uncased",
    "albert-base-v2",
    "gpt2",
    "t5-small",
    "llama-7b",
    "mixtral-8x7b",
    "deepseek-v3",
    "vit",
    "whisper",
)

NOT_SIZES = ("layer_types",)
"""Fields that no size depends on and that are derived from stated ones; `*_token_id` and `*_token_index` too."""


FIGURE = re.compile(r"(?P<exact>\d{1,3}(?:,\d{3})*)|(?P<whole>\d+)(?:\.(?P<decimals>\d+))?(?P<unit>[KMBT])")
"""Either all digits, grouped by commas, or a rounded number and its unit."""

UNITS = {"K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
"""Parameters per unit of a rounded figure; papers say B, not G."""


def agrees(figure, total):
    """Whether a total is a published figure, at the precision that the figure is written with."""
    found = FIGURE.fullmatch(figure)
    if found is None:
        raise ValueError(f"{figure!r} is not a figure; write 124,697,433 or 46.7B")
    if found["exact"] is not None:
        return total == int(found["exact"].replace(",", ""))
    decimals = found["decimals"] or ""
    step = UNITS[found["unit"]] // 10 ** len(decimals)
    # Integers, half up: a float would lose the last digits of 671B.
    return (2 * total + step) // (2 * step) == int(found["whole"] + decimals)


def raw(name):
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def configuration(config):
    import transformers

    return transformers.AutoConfig.for_model(**json.loads(json.dumps(config)))


def build(config):
    """Build the class that the configuration names, as the program does: on the meta device only."""
    import torch
    import transformers

    (class_name,) = config["architectures"]
    with torch.device("meta"):
        return getattr(transformers, class_name)(configuration(config))


class TestFiles:
    def test_there_are_at_least_forty(self):
        assert len(NAMES) >= 40

    def test_names_are_the_files_sorted(self):
        assert list(NAMES) == sorted(path.stem for path in FOLDER.iterdir())

    def test_every_family_has_a_model(self):
        assert {known.family for known in builtin.catalogue()} == set(FAMILIES)

    @pytest.mark.parametrize("name", NAMES)
    def test_a_file_has_exactly_the_documented_fields(self, name):
        fields = raw(name)
        assert list(fields) == [field.name for field in dataclasses.fields(builtin.Architecture)]
        assert fields["name"] == name == name.lower()
        assert fields["family"] in FAMILIES
        assert all(type(known) is str and known.strip() == known != "" for known in fields["ids"])
        assert all(fields[key].strip() for key in ("title", "source"))
        assert list(fields["published"]) == ["parameters", "source"]
        assert fields["published"]["source"].strip()
        assert all(type(fields[key]) is int and fields[key] > 0 for key in ("total", "tensors"))
        assert len(fields["config"]["architectures"]) == 1

    def test_no_name_or_id_means_two_models(self):
        known = [text.casefold() for found in builtin.catalogue() for text in (found.name, *found.ids)]
        assert len(known) == len(set(known))

    @pytest.mark.parametrize("name", NAMES)
    def test_every_model_but_our_own_reference_has_its_hub_id(self, name):
        assert name == "kantaibert" or any("/" in known for known in raw(name)["ids"])

    def test_the_stated_total_agrees_with_the_published_figure(self):
        assert [
            known.name for known in builtin.catalogue() if not agrees(known.published.parameters, known.total)
        ] == []

    def test_most_totals_are_held_to_the_last_digit(self):
        exact = [known for known in builtin.catalogue() if "," in known.published.parameters]
        assert len(exact) >= 3 / 4 * len(NAMES)


class TestFind:
    @pytest.mark.parametrize("name", NAMED_BY_USERS)
    def test_the_names_that_users_were_promised_open(self, name):
        assert builtin.find(name) is not None

    @pytest.mark.parametrize("name", NAMES)
    def test_a_name_finds_its_own_file(self, name):
        found = builtin.find(name)
        assert found is not None
        assert (found.name, found.config) == (name, raw(name)["config"])

    def test_an_id_finds_its_model(self):
        for known in builtin.catalogue():
            for text in known.ids:
                assert builtin.find(text) == known

    @pytest.mark.parametrize("target", ["ROBERTA-base", "facebookai/RoBERTa-Base"])
    def test_case_does_not_matter(self, target):
        found = builtin.find(target)
        assert found is not None
        assert found.name == "roberta-base"

    @pytest.mark.parametrize(
        "target",
        ["", ".", "gpt2.json", "./gpt2", "../architectures/gpt2", "gpt2/", "gpt2\0", str(FOLDER / "gpt2"), "gpt3"],
    )
    def test_a_target_is_never_a_path(self, target):
        assert builtin.find(target) is None

    def test_a_configuration_is_the_callers_own_copy(self):
        found = builtin.find("gpt2")
        assert found is not None
        found.config["n_layer"] = 1
        again = builtin.find("gpt2")
        assert again is not None
        assert again.config["n_layer"] == 12

    def test_catalogue_lists_by_family_then_size(self):
        catalogue = builtin.catalogue()
        order = [(FAMILIES.index(known.family), known.total) for known in catalogue]
        assert order == sorted(order)
        assert sorted(known.name for known in catalogue) == list(NAMES)

    def test_reading_all_imports_no_heavy_library(self):
        code = (
            "import sys; from explorer.sources import builtin; builtin.catalogue(); builtin.find('gpt2');"
            "print(sorted({'torch', 'transformers', 'textual', 'numpy'} & set(sys.modules)))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        # Both streams: when the import itself fails, the traceback is the message.
        assert (done.stdout, done.stderr) == ("[]\n", "")


class TestPublishedFigure:
    @pytest.mark.parametrize(
        ("figure", "total"),
        [
            ("124,697,433", 124_697_433),
            ("46.7B", 46_702_792_704),
            ("671B", 671_026_404_352),
            ("22.05M", 22_050_664),
            ("1.0T", 1_049_999_999_999),
            ("84M", 83_500_000),
        ],
    )
    def test_a_figure_agrees_with_what_rounds_to_it(self, figure, total):
        assert agrees(figure, total)

    @pytest.mark.parametrize(
        ("figure", "total"),
        [
            ("124,697,433", 124_697_432),
            ("46.7B", 46_750_000_000),
            ("46.7B", 46_649_999_999),
            ("671B", 671_500_000_000),
            ("84M", 83_499_999),
            ("84M", 84_500_000),
        ],
    )
    def test_a_figure_rejects_what_does_not_round_to_it(self, figure, total):
        assert not agrees(figure, total)

    @pytest.mark.parametrize("figure", ["", "124697433", "1,2345", "46.7", "46.7b", "46.7G", "~7B", "7B or so"])
    def test_what_is_no_figure_is_refused(self, figure):
        with pytest.raises(ValueError, match="not a figure"):
            agrees(figure, 7)


@pytest.mark.parametrize("name", NAMES)
class TestConfigurations:
    def test_every_size_is_stated(self, name):
        """Whatever the configuration class would fill in from its defaults must stand in the file."""
        from transformers import PreTrainedConfig

        shared = {field.name for field in dataclasses.fields(PreTrainedConfig)}

        def unstated(parsed, stated, where=""):
            for field in dataclasses.fields(parsed):
                key = field.name
                value = getattr(parsed, key, None)
                if isinstance(value, PreTrainedConfig):
                    yield from unstated(value, stated.get(key, {}), f"{where}{key}.")
                elif key not in {*shared, *stated, *NOT_SIZES} and not key.endswith(("_token_id", "_token_index")):
                    yield where + key

        config = raw(name)["config"]
        assert list(unstated(configuration(config), config)) == []
        assert "num_labels" in config or "Classification" not in config["architectures"][0]

    def test_the_checkpoints_dtype_is_stated(self, name):
        import torch

        config = raw(name)["config"]
        assert isinstance(getattr(torch, config["dtype"]), torch.dtype)
        assert configuration(config).dtype is getattr(torch, config["dtype"])

    def test_the_built_class_has_the_stated_and_the_published_size(self, name):
        known = builtin.find(name)
        assert known is not None
        model = build(known.config)
        shapes = [parameter.shape for _, parameter in model.named_parameters()]
        total = sum(shape.numel() for shape in shapes)
        assert (total, len(shapes)) == (known.total, known.tensors)
        assert agrees(known.published.parameters, total)


def test_kantaibert_has_the_known_parameters_row_by_row():
    facts = json.loads((FACTS / "kantaibert.json").read_text(encoding="utf-8"))
    known = builtin.find("kantaibert")
    assert known is not None
    model = build(known.config)
    owners = dict(model.named_modules())
    spellings: dict[int, list[str]] = {}
    for path, parameter in model.named_parameters(remove_duplicate=False):
        spellings.setdefault(id(parameter), []).append(path)
    rows = [
        {
            "index": index,
            "name": path,
            "shape": list(parameter.shape),
            "numel": parameter.numel(),
            "module_class": type(owners[path.rpartition(".")[0]]).__name__,
            "aliases": spellings[id(parameter)][1:],
        }
        for index, (path, parameter) in enumerate(model.named_parameters())
    ]
    assert rows == facts
    assert (len(rows), sum(row["numel"] for row in rows)) == (106, 83_504_416)
