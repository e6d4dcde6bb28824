"""Parts of a labelled file: one held out, or folds that are held out in turn.

Examples that belong together are in one part; each stratum, such as a label, has its share in every part where it has
examples enough. Strata are dealt out one after the other, the rarest first, always to the part that lacks most of it: iterative
stratification (Sechidis et al. 2011), of groups instead of single examples.
"""

from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bertsmith.errors import InputError, UsageError
from bertsmith.finetuning.grid import LabelledFiles
from bertsmith.randomness import key, permutation
from bertsmith.sources.example_tables import TableConfig, read_table
from bertsmith.tasks.task import Task

# The largest group that a task itself finds; of a larger one, too little would be left for the other part.
_LARGEST_GROUP = 0.5


@dataclass(frozen=True, slots=True)
class Splitter:
    """Parts examples.

    clusters  the places of those that stay together
    strata    of each cluster, how many of its examples have a stratum
    how       what the parts have in common, and what was kept together, to be read
    """

    clusters: Sequence[Sequence[int]]
    strata: Sequence[Mapping[Hashable, int]]
    how: str

    @classmethod
    def of(cls, task: Task, examples: Sequence[Any], files: LabelledFiles) -> "Splitter":
        """Return what parts the examples of a training file.

        Raises:
            InputError: the file has no column ``--group``.
            UsageError: it is no table, so that it has none.
        """
        keys, name = task.split_keys(examples), files.group
        said = [f"stratified by {keys.stratum_name}"] if keys.strata else []
        if name is not None:
            clusters = _clusters(keys.texts, _column(task, examples, files, name))
            said.append(f"each {name} in one part")
        else:
            clusters = _clusters(keys.texts, keys.groups)
            if keys.groups and max(map(len, clusters)) <= _LARGEST_GROUP * len(examples):
                said.append(f"each {keys.group_name} in one part")
            else:  # a group of most examples, such as one instruction before all of them, tells nothing apart
                clusters = _clusters(keys.texts, ())
        strata = [Counter(one for place in own for one in keys.strata[place]) if keys.strata else Counter() for own in clusters]
        return cls(clusters, strata, ", ".join([*said, "equal texts in one part"]))

    def parts(self, shares: Sequence[float]) -> list[list[int]]:
        """Return the places of the examples of each part, in order; ``shares`` are of all examples and sum to 1.

        A stratum that as many clusters have as there are parts, or more, is in each. A part may have no examples.
        """
        parts: list[list[int]] = [[] for _ in shares]
        left = set(range(len(self.clusters)))
        order = permutation(key("dev"), len(self.clusters)).tolist()
        members = defaultdict(list)
        for cluster in order:
            for stratum in self.strata[cluster]:
                members[stratum].append(cluster)
        # What there is but once goes where there is room, behind the others.
        dealt = {stratum: own for stratum, own in members.items() if len(own) > 1}
        n_left = {stratum: len(own) for stratum, own in dealt.items()}
        lacks = {stratum: self._wanted(stratum, own, shares) for stratum, own in dealt.items()}
        n_examples = sum(map(len, self.clusters))
        room = [share * n_examples for share in shares]

        def give(cluster: int, wanted: Sequence[float]) -> None:
            part = max(range(len(shares)), key=lambda place: (wanted[place], room[place], -place))
            left.remove(cluster)
            parts[part] += self.clusters[cluster]
            room[part] -= len(self.clusters[cluster])
            for stratum, count in self.strata[cluster].items():
                if stratum in lacks:
                    lacks[stratum][part] -= count
                    n_left[stratum] -= 1

        while dealt:
            rarest = min(dealt, key=lambda stratum: n_left[stratum])
            for cluster in sorted((one for one in dealt.pop(rarest) if one in left), key=self._size, reverse=True):
                give(cluster, lacks[rarest])
        for cluster in sorted((one for one in order if one in left), key=self._size, reverse=True):
            give(cluster, room)
        return [sorted(part) for part in parts]

    def _size(self, cluster: int) -> int:
        return len(self.clusters[cluster])

    def _wanted(self, stratum: Hashable, clusters: Sequence[int], shares: Sequence[float]) -> list[float]:
        """Return how many of a stratum's examples each part should have, one at least if there are enough for all parts."""
        count = sum(self.strata[cluster][stratum] for cluster in clusters)
        least = 1.0 if len(clusters) >= len(shares) else 0.0
        wanted = [max(least, share * count) for share in shares]
        most = max(range(len(shares)), key=lambda place: (shares[place], -place))
        wanted[most] += count - sum(wanted)
        return wanted


def hold_out(task: Task, examples: Sequence[Any], files: LabelledFiles) -> tuple[list[Any], list[Any], str]:
    """Split the examples of a training file, the same way in every run, into those to train on and those to choose by.

    Returns:
        Both, and how they were parted, to be read.

    Raises:
        InputError: the examples are too few, or belong together; there is no column ``--group``.
        UsageError: the file cannot have such a column.
    """
    splitter = Splitter.of(task, examples, files)
    train, dev = splitter.parts((1 - files.dev_share, files.dev_share))
    if not dev:  # the share is less than an example
        smallest = min(splitter.clusters, key=len)
        train, dev = sorted(set(train) - set(smallest)), list(smallest)
    if not train:
        together = f" that belong together ({splitter.how})" if len(examples) > 1 else ""
        raise InputError(f"{files.train} has {len(examples)} example(s){together}: too few to hold some out; give a --dev file")
    return [examples[place] for place in train], [examples[place] for place in dev], splitter.how


def _clusters(*keys_of: Sequence[Hashable]) -> list[list[int]]:
    """Return the places that are joined by equal keys, directly or through others; no keys join none, nor does None."""
    n = max(map(len, keys_of))
    parents = list(range(n))

    def root(place: int) -> int:
        while parents[place] != place:
            parents[place] = parents[parents[place]]
            place = parents[place]
        return place

    for keys in keys_of:
        first: dict[Hashable, int] = {}
        for place, one in enumerate(keys):
            if one is not None:
                one_root, other = sorted((root(place), root(first.setdefault(one, place))))
                parents[other] = one_root
    found = defaultdict(list)
    for place in range(n):
        found[root(place)].append(place)
    return list(found.values())


def _column(task: Task, examples: Sequence[Any], files: LabelledFiles, name: str) -> list[Hashable]:
    """Return what each example has in a column of its file; ``title`` and such are known of examples that are no rows."""
    if files.train.lower().endswith((".json", ".jsonl")) and hasattr(examples[0], name):
        return [getattr(example, name) for example in examples]
    columns = getattr(task, "columns", None)
    try:
        table = read_table(files.train, files.format, config=columns if isinstance(columns, TableConfig) else TableConfig())
    except (InputError, UsageError) as error:
        raise UsageError(f"--group {name} is for tables with columns: {error}") from None
    table.check_columns(group=name)
    by_source = {record.source: record.values.get(name) for record in table.with_columns(name)}
    if missing := next((example.source for example in examples if example.source not in by_source), None):
        raise UsageError(f"--group {name}: {missing} is no row of a table with columns; leave --group out")
    return [None if (value := by_source[example.source]) in (None, "") else str(value) for example in examples]
