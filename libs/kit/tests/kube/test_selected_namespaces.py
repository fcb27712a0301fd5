"""Informers keep the objects of selected namespaces only, and change between states that controllers may see."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

from arks.kit.cache import Cache
from arks.kit.key import Key
from arks.kit.kube.api import KubeApi
from arks.kit.kube.informer import Informer
from arks.kit.kube.kinds import POD, SECRET
from arks.kit.kube.selected_namespaces import SelectedNamespaces
from arks.kit.testing.namespaced_objects import NamespacedObjects
from arks.kit.testing.wait import eventually
from arks.kit.types import Json

OWNER, CHILD = SECRET, POD
A, B = Key("a", "x"), Key("b", "x")


@dataclass
class Program:
    """Two informers, as a controller has them: of what owns, and of what is owned."""

    objects: NamespacedObjects
    owners: Cache[str]
    children: Cache[str]
    faults: list[str]
    """What a controller would have seen wrong: a child without its owner."""
    read: list[Key]

    def keys(self) -> tuple[set[Key], set[Key]]:
        return self.owners.existing(), self.children.existing()

    async def has(self, *keys: Key) -> None:
        await eventually(lambda: self.keys() == (set(keys), set(keys)), what=f"objects {keys}")


@asynccontextmanager
async def program(*selected: str) -> AsyncIterator[Program]:
    objects = NamespacedObjects()
    for namespace in ("a", "b"):
        for kind in (OWNER, CHILD):
            objects.put(kind, namespace, "x")
    for namespace in selected:
        objects.select(namespace)
    api = cast("KubeApi", objects)
    objects.namespaces = namespaces = SelectedNamespaces(api, "team")
    made = Program(objects, Cache(), Cache(), [], [])

    def read(obj: Json) -> str:
        made.read.append(Key(obj["metadata"]["namespace"], obj["metadata"]["name"]))
        return "value"

    async def look() -> None:
        """A controller that runs after the callbacks of a change."""
        while True:
            changed.clear()
            if not made.children.existing() <= made.owners.existing():
                made.faults.append(f"orphans: {made.keys()}")
            await changed.wait()

    changed = asyncio.Event()
    informers = [Informer(api, kind, read, cache) for kind, cache in ((CHILD, made.children), (OWNER, made.owners))]
    for cache in (made.owners, made.children):
        cache.subscribe(lambda key: changed.set())
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(run()) for run in (namespaces.run, *(informer.run for informer in informers))]
        for cache in (made.owners, made.children):
            await cache.synced.wait()
        running.append(tasks.create_task(look()))
        yield made
        for task in running:
            task.cancel()
    assert [] == made.faults


async def test_objects_of_other_namespaces_are_neither_read_nor_kept() -> None:
    async with program("a") as made:
        assert ({A}, {A}) == made.keys()
        assert {A} == set(made.read)
        for namespace in ("b", "a"):
            for kind in (OWNER, CHILD):
                made.objects.put(kind, namespace, "y")
        await eventually(lambda: Key("a", "y") in made.children.existing(), what="a change in a served namespace")
        assert {A, Key("a", "y")} == made.children.existing()
        for kind in (CHILD, OWNER):
            made.objects.remove(kind, "a", "y")
        await made.has(A)


async def test_a_namespace_whose_labels_begin_to_match_is_served_in_one_step() -> None:
    async with program("a") as made:
        made.objects.select("b")
        await made.has(A, B)


async def test_a_namespace_whose_labels_no_longer_match_ends_in_one_step_and_can_come_back() -> None:
    async with program("a", "b") as made:
        assert ({A, B}, {A, B}) == made.keys()
        made.objects.deselect("b")
        await made.has(A)
        made.objects.select("b")
        await made.has(A, B)


async def test_changes_while_a_namespace_is_listed_are_not_lost() -> None:
    async with program("a") as made:
        made.objects.held.clear()
        made.objects.select("b")
        await eventually(lambda: (CHILD.plural, "b") in made.objects.lists, what="the list of the namespace")
        made.objects.put(OWNER, "b", "late")
        made.objects.remove(CHILD, "b", "x")
        made.objects.held.set()
        await eventually(lambda: Key("b", "late") in made.owners.existing(), what="the late object")
        await eventually(lambda: made.children.existing() == {A}, what="the deletion")


async def test_a_change_that_a_broken_watch_missed_while_a_namespace_is_listed_is_not_lost() -> None:
    async with program("a") as made:
        made.objects.held.clear()
        made.objects.select("b")
        await eventually(lambda: (CHILD.plural, "b") in made.objects.lists, what="the list of the namespace")
        lists = made.objects.lists.count((CHILD.plural, None))
        made.objects.break_watches(CHILD)
        made.objects.remove(CHILD, "b", "x")
        await eventually(lambda: made.objects.lists.count((CHILD.plural, None)) > lists, what="the list after it")
        made.objects.held.set()
        await eventually(lambda: made.keys() == ({A, B}, {A}), what="the owner without its deleted child")


async def test_a_namespace_that_is_deselected_while_it_is_listed_is_not_served() -> None:
    async with program("a") as made:
        made.objects.held.clear()
        made.objects.select("b")
        await eventually(lambda: (CHILD.plural, "b") in made.objects.lists, what="the list of the namespace")
        made.objects.deselect("b")
        made.objects.select("c")
        made.objects.held.set()
        await eventually(lambda: (OWNER.plural, "c") in made.objects.lists, what="the list of the next namespace")
        assert {A} == set(made.read)
