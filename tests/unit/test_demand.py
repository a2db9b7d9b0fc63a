"""Whether a cluster can place a run, and what is said when it cannot."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolltape.actors.demand import Share, check_demand, demand_of
from rolltape.schema.config_resources import ResourcesConfig
from rolltape.schema.errors import ClusterError

GIB = 1 << 30
TWO_NODES = [{"CPU": 8.0, "memory": 16 * GIB}, {"CPU": 8.0, "GPU": 1.0, "memory": 16 * GIB}]


def refusal(workers: int, nodes: list[dict[str, float]], **resources: float) -> str:
    with pytest.raises(ClusterError) as refused:
        check_demand(demand_of(workers, ResourcesConfig(**resources)), nodes)  # type: ignore[arg-type]
    return str(refused.value)


@pytest.mark.parametrize(
    ("workers", "resources"),
    [
        (16, {}),
        (100, {"cpus_per_worker": 0}),
        (14, {"writer_cpus": 2}),
        (2, {"cpus_per_worker": 8}),
        (4, {"gpus_per_worker": 0.25}),
        (30, {"cpus_per_worker": 0.5, "memory_per_worker_bytes": GIB, "hub_memory_bytes": GIB}),
    ],
)
def test_what_fits(workers: int, resources: dict[str, float]) -> None:
    check_demand(demand_of(workers, ResourcesConfig(**resources)), TWO_NODES)  # type: ignore[arg-type]


def test_too_many_workers() -> None:
    said = refusal(20, TWO_NODES)
    assert "20 workers of 1 CPU: the run needs 20 CPUs, the cluster has 16 CPUs on 2 nodes" in said
    assert "Missing: 4 CPUs. 16 would fit: num_workers=16" in said


def test_enough_in_all_and_not_on_one_node() -> None:
    said = refusal(2, TWO_NODES, cpus_per_worker=6, writer_cpus=4)
    assert "It is enough in all, but not on single nodes. 1 would fit" in said
    assert "at most 8 CPUs on one" in said


def test_memory_and_gpus_are_named() -> None:
    said = refusal(3, TWO_NODES, gpus_per_worker=0.5)
    assert "3 workers of 1 CPU and 0.5 GPUs" in said and "Missing: 0.5 GPUs. 2 would fit" in said
    said = refusal(40, TWO_NODES, cpus_per_worker=0.1, memory_per_worker_bytes=GIB)
    assert "40 GiB of memory" in said and "Missing: 8 GiB of memory" in said and "32 would fit" in said


def test_the_writer_comes_first() -> None:
    said = refusal(1, TWO_NODES, writer_cpus=9)
    assert "cannot place the writer (9 CPUs)" in said and "resources.writer_cpus" in said


def test_one_small_machine_is_told_of_shares() -> None:
    said = refusal(4, [{"CPU": 2.0}])
    assert "2 would fit: num_workers=2 (fleet.num_workers), or 0.5 CPUs for each (cpus_per_worker)." in said


@given(
    st.lists(st.integers(0, 16), min_size=1, max_size=5),
    st.integers(1, 40),
    st.sampled_from([0.25, 0.5, 1.0, 2.0, 3.0, 5.0]),
)
def test_equal_processes_fit_exactly_when_nodes_have_places(nodes: list[int], count: int, each: float) -> None:
    places = sum(int(cpus // each) for cpus in nodes)
    demand = [Share("worker", count, {"CPU": each})]
    have = [{"CPU": float(cpus)} for cpus in nodes]
    if places >= count:
        check_demand(demand, have)
    else:
        with pytest.raises(ClusterError, match=f"{places} would fit" if places else "Not one would fit"):
            check_demand(demand, have)
