"""Cells on a real Ray cluster of two nodes, one of which is killed in the middle."""

import os
import signal
import socket
import threading

import pytest
from filelock import FileLock
from support import SWEEP, invoke, place

from era8 import load_runs
from era8.sweep.cluster import sweep_cluster
from era8.sweep.grid import expand, read_options
from era8.sweep.work import Workspace

os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # read at import: loopback addresses only
ray = pytest.importorskip("ray")
cluster_utils = pytest.importorskip("ray.cluster_utils")
pytestmark = pytest.mark.process


@pytest.fixture
def nodes(monkeypatch):
    """A cluster with two nodes of one processor each, on the loopback."""
    monkeypatch.setenv("RAY_DISABLE_IMPORT_WARNING", "1")
    monkeypatch.setenv("RAY_ENABLE_AUTO_CONNECT", "0")
    node = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "object_store_memory": 2**28}
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=node)
    yield cluster, cluster.add_node(**node)
    ray.shutdown()
    cluster.shutdown()


def test_a_node_that_dies_costs_no_cell(nodes, tmp_path):
    cluster, second = nodes
    axes = {"norm": ["bn", "gn"], "seed": "0..2", "train_images": 400, "epochs": 3}
    cells, ended = expand([axes]), threading.Event()

    def kill(cell, line):
        if not ended.is_set():  # the first cell has ended, so both nodes are at work
            ended.set()
            ask = ray.remote(num_cpus=0)(lambda: os.environ.get("GOMP_SPINCOUNT"))
            assert ray.get(ask.remote()) == os.environ["GOMP_SPINCOUNT"]
            cluster.remove_node(second, allow_graceful=False)

    where, handler = place(tmp_path), signal.getsignal(signal.SIGTERM)
    with pytest.raises(ValueError, match="no node of the Ray cluster has 1 CPU and 0.5 GPU"):
        sweep_cluster(cells, where, cluster.address, gpus=0.5)
    failed = sweep_cluster(cells, where, cluster.address, retries=3, log=kill)
    assert signal.getsignal(signal.SIGTERM) == handler
    assert failed == {} and ended.is_set()
    runs = load_runs(tmp_path)
    assert runs.groupby("norm").seed.apply(sorted).to_dict() == {"bn": [0, 1, 2], "gn": [0, 1, 2]}
    assert all((where.folder(cell) / "weights.pt").exists() for cell in cells)


def test_the_command_reports_cells_that_fail_and_saves_the_others(tmp_path):
    grid = "--train-images 200 --batch-size 20 --epochs 1 --lr 0.05 1e9 0.06".split()
    taken = expand([read_options(grid)])[2]
    folder = place(tmp_path).folder(taken)
    folder.mkdir()
    with FileLock(folder / ".lock"):
        result = invoke(*SWEEP, "--engine", "ray", "--out", tmp_path, *grid)
    assert result.exit_code == 1 and result.output.endswith("Error: 2 of 3 runs failed\n")
    assert "FloatingPointError: the " in result.output
    assert f"BusyError: {folder} is being trained by another process" in result.output
    assert load_runs(tmp_path).lr.tolist() == [0.05]


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:99999"])
def test_no_cluster_at_the_address(tmp_path, address):
    with pytest.raises(ValueError, match=f"no Ray cluster answers at '{address}'"):
        sweep_cluster(expand([{}]), Workspace(tmp_path), address)


@pytest.mark.parametrize("address", ["nonsense", "ray://head", ":6379", "head:port"])
def test_what_is_no_address(tmp_path, address):
    with pytest.raises(ValueError, match=f"at '{address}': an address is host:port, or auto"):
        sweep_cluster(expand([{}]), Workspace(tmp_path), address)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", None])
def test_what_listens_is_no_cluster(tmp_path, monkeypatch, answer):
    """It says something else, or nothing."""
    if not answer:
        connect = socket.create_connection
        monkeypatch.setattr(socket, "create_connection", lambda to, timeout: connect(to, 0.5))
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        if answer:
            threading.Thread(target=lambda: server.accept()[0].sendall(answer)).start()
        with pytest.raises(ValueError, match=f"no Ray cluster answers at '{address}'"):
            sweep_cluster(expand([{}]), Workspace(tmp_path), address)


def test_a_cluster_without_room_for_the_images(nodes, tmp_path, monkeypatch):
    def put(value):
        raise ray.exceptions.ObjectStoreFullError("no room")

    monkeypatch.setattr(ray, "put", put)
    monkeypatch.setattr("era8.sweep.cluster.load_data", lambda *place: None)
    with pytest.raises(ValueError, match="the Ray cluster takes no images: ObjectStoreFullError"):
        sweep_cluster(expand([{}]), Workspace(tmp_path), nodes[0].address)
