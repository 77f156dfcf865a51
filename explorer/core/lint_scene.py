"""What lints read: facts of the model, worked out once, and one assignment of its parameters to groups."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import compress
from typing import NamedTuple
from weakref import WeakKeyDictionary

from explorer.core.classes import FOLD
from explorer.core.groups import Assignment, Grouper
from explorer.core.named import Named
from explorer.core.optimizers import default_weight_decay
from explorer.core.param import Model, ModuleClass
from explorer.core.patterns import Glob, Name, Substring, Term, Type
from explorer.core.rules import Grouping, parse_rule

VOCABULARY = 400
"""Most words that a misspelt term is compared with: difflib takes about 10 µs a word."""


def is_norm(module: ModuleClass | None) -> bool:
    """Tell whether a module normalizes: its class, or a base class, has `Norm` in its name.

    The module's own name is not asked: `ln_1`, `norm1` and `final_layer_norm` have only the class in common.
    """
    return module is not None and any("Norm" in name for name in (module.name, *module.bases))


LIKE_A_NORM = re.compile(r"(?i)norm|(?:^|[._])ln(?:$|[._0-9])")
"""Finds in a term that a norm is meant."""


class Word(NamedTuple):
    """A piece of the model's names that a term may have meant."""

    text: str
    """As it is written in the name."""
    of_norms: bool
    """Whether only names of normalization modules were seen to have it."""


class Facts:
    """Masks of a model's parameters, one byte each, that lints need and that do not depend on the groups."""

    def __init__(self, grouper: Grouper) -> None:
        """Work the masks out by class."""
        self.grouper = grouper
        classes = grouper.classes
        norms = [is_norm(module) for module in classes.modules]
        shapes = [trained and ndim is not None for trained, ndim in zip(classes.trained, classes.ndims, strict=True)]
        ndims = [ndim or 0 for ndim in classes.ndims]
        each = list(zip(norms, shapes, ndims, strict=True))
        self.frozen = self._rows([not trained for trained in classes.trained])
        """Parameters that the model freezes, and tensors that are none."""
        self.norm = self._rows([norm and trained for norm, trained in zip(norms, classes.trained, strict=True)])
        """Trained parameters of normalization modules."""
        self.flat = self._rows([not norm and known and ndim < 2 for norm, known, ndim in each])
        """Trained parameters of other modules with fewer than two dimensions."""
        self.wide = self._rows([not norm and known and ndim >= 2 for norm, known, ndim in each])
        """Trained parameters of other modules with two dimensions or more."""
        self.all_wide = self._rows([known and ndim >= 2 for _, known, ndim in each])
        """Trained parameters with two dimensions or more, those of norms included."""
        self.not_matrix = self._rows([known and ndim != 2 for _, known, ndim in each])
        """Trained parameters that have not exactly two dimensions."""
        self.unjudged = sum(
            count for count, module in zip(classes.tensors, classes.modules, strict=True) if module is None
        )
        """Number of parameters whose owning module is unknown."""
        self.nearest: dict[str, tuple[str, ...]] = {}
        """Suggestions already looked up, by term."""
        self.whole_numbers: int | None = None
        """Rows of whole numbers that may be trained, as a mask; `None` before the first look."""
        self.overruns: dict[str, tuple[tuple[int, ...], str]] = {}
        """Digit boundaries already looked at, by term."""

    def _rows(self, flags: Sequence[bool]) -> int:
        rows = self.grouper.classes.expand(flags)[: self.grouper.classes.rows]
        return int.from_bytes(rows, "little")

    @cached_property
    def words(self) -> dict[str, Word]:
        """What a substring is likely meant to be: path pieces and pairs of them, by their lower-cased text."""
        found: dict[str, Word] = {}
        classes = self.grouper.classes
        # Of each class the first name as it is: a folded one has digits that the model may not have.
        first: dict[int, str] = {}
        for number, name in zip(classes.ids, classes.names, strict=True):
            if number not in first:
                first[number] = name
                if len(first) == classes.size:
                    break
        for number, name in first.items():
            norm = is_norm(classes.modules[number])
            pieces = [piece for piece in name.split(".") if not piece.isdigit()]
            for piece in (*pieces, ".".join(pieces[-2:])):
                known = found.get(piece.lower())
                if known is None:
                    found[piece.lower()] = Word(piece, norm)
                elif known.of_norms and not norm:
                    found[piece.lower()] = known._replace(of_norms=False)
        return dict(list(found.items())[:VOCABULARY])

    @cached_property
    def matrix_names(self) -> str:
        """The names of all matrices but those of norms, their digits written 0, a line each."""
        classes = self.grouper.classes
        each = zip(classes.folded, classes.ndims, classes.modules, strict=True)
        return "\n".join(name for name, ndim, module in each if (ndim or 0) >= 2 and not is_norm(module))

    def suggest(self, term: Term, spares: bool) -> tuple[str, ...]:
        """Return up to three things of the model that look like what the term may have meant.

        Args:
            term: A term that matches nothing.
            spares: Whether it is of a group without decay, to which no text that is in a matrix's name is offered.
        """
        key = f"{spares:d}{term.key}"
        known = self.nearest.get(key)
        if known is None:
            known = self.nearest[key] = self._suggest(term, spares)
            if len(self.nearest) > VOCABULARY:
                self.nearest.clear()
        return known

    def _suggest(self, term: Term, spares: bool) -> tuple[str, ...]:
        classes, test = self.grouper.classes, term.test
        if isinstance(test, Type):
            names = dict.fromkeys(module.name for module in classes.modules if module is not None)
            return _closest(test.pattern, {name.lower(): name for name in names}, "type:")
        if not isinstance(test, (Substring, Glob, Name)):
            return ()
        text = test.pattern if isinstance(test, Glob) else test.text
        words = self.words
        if LIKE_A_NORM.search(text):
            words = {low: word for low, word in words.items() if word.of_norms} or words
            spares = True
        if spares:
            words = {low: word for low, word in words.items() if not self._takes_matrix(word.text)}
        return _closest(text, {low: word.text for low, word in words.items()}, "")

    def _takes_matrix(self, text: str) -> bool:
        return text.translate(FOLD) in self.matrix_names


def _closest(text: str, words: dict[str, str], prefix: str) -> tuple[str, ...]:
    lowered = re.sub(r"[*?^$\\]", "", text).lower()[:80]
    return tuple(prefix + words[word] for word in difflib.get_close_matches(lowered, words, 3, 0.6))


_FACTS: WeakKeyDictionary[Grouper, Facts] = WeakKeyDictionary()


class Scene:
    """One assignment, and the questions that lints ask about it."""

    def __init__(self, model: Model, grouping: Grouping, assignment: Assignment) -> None:
        """Take the assignment of `grouping` on `model`."""
        self.model = model
        self.grouping = grouping
        self.assignment = assignment
        self.grouper = assignment.grouper
        facts = _FACTS.get(self.grouper)
        if facts is None:
            facts = _FACTS[self.grouper] = Facts(self.grouper)
        self.facts = facts
        self.decay = [self._decay(i) for i in range(len(grouping.rules))]
        """Weight decay each rule's members get; 0 where the group is frozen."""
        self.terms = [parse_rule(grouping, i)[0] for i in range(len(grouping.rules))]
        """The readable terms of each rule, with their positions."""

    def optimizer(self, rule: int) -> str:
        """Return the name of the optimizer that a rule's members go to."""
        return str(self.grouping.rules[rule].options.get("optimizer", self.grouping.optimizer))

    def frozen(self, rule: int) -> bool:
        """Tell whether a rule stops training its members."""
        return bool(self.grouping.rules[rule].options.get("freeze"))

    def spares(self, rule: int) -> bool:
        """Tell whether a rule trains its members without decay."""
        return not self.decay[rule] and not self.frozen(rule)

    def says_no_decay(self, rule: int) -> bool:
        """Tell whether a rule's name says that its members do not decay."""
        name = re.sub(r"[^a-z]", "", self.grouping.rules[rule].name.lower())
        words = ("nodecay", "nowd", "nowdecay", "noweightdecay", "withoutdecay", "undecayed")
        return any(word in name for word in words)

    def _decay(self, rule: int) -> float:
        if self.frozen(rule):
            return 0.0
        value = self.grouping.rules[rule].options.get("weight_decay")
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
        return default_weight_decay(self.optimizer(rule))

    @cached_property
    def decaying(self) -> int:
        """Where a parameter's group decays."""
        return self.where(i for i, decay in enumerate(self.decay) if decay > 0)

    def where(self, rules: Iterable[int], codes: bytes | None = None) -> int:
        """Return where a parameter is under one of `rules`."""
        table = bytearray(256)
        for rule in rules:
            table[rule] = 1
        return int.from_bytes((self.assignment.groups if codes is None else codes).translate(table), "little")

    def rows(self, mask: int) -> list[int]:
        """Return the parameters of a mask, in model order."""
        if not mask:
            return []
        size = len(self.assignment.codes)
        return list(compress(range(size), mask.to_bytes(size, "little")))

    def names(self, mask: int) -> Sequence[str]:
        """Return the names of a mask's parameters, in model order."""
        return Named(self.model.names, mask.to_bytes(len(self.assignment.codes), "little")) if mask else ()

    def matches(self, term: Term) -> int:
        """Return where a term matches, its `!` aside."""
        return int.from_bytes(self.grouper.matches(Term(term.key, False, term.test)), "little")

    def names_tied(self, term: Term, rule: int) -> bool:
        """Tell whether a term puts another name of a tied tensor where the tensor itself is: under a rule."""
        classes, mask = self.grouper.classes, self.grouper.mask(term)
        if not classes.alias_of:
            return False
        hits = (mask.bits if mask.by_row else classes.expand(mask.bits))[classes.rows :]
        owners = (self.assignment.codes[index] for index in classes.alias_of)
        told = zip(hits, owners, self.assignment.alias_codes, strict=True)
        return any(hit and owner == code == rule for hit, owner, code in told)

    def spared_by(self, edited: Grouping, mask: int) -> bool:
        """Tell whether none of a mask's parameters decays under an edited grouping, and no group is emptied."""
        codes = self.grouper.codes(edited)
        if any(count and code not in codes for code, count in enumerate(self.assignment.tensors)):
            return False
        other = Scene(self.model, edited, self.assignment)
        decaying = (i for i, decay in enumerate(other.decay) if decay > 0)
        return not mask & self.where(decaying, codes)
