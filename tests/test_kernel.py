"""`pydock kernel`: an environment as a kernel of the host's Jupyter, driven by the real jupyter_client and nbclient."""
from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import unittest
from unittest import mock
from pathlib import Path
from typing import Any, Dict

from support import PYTHON, Case, SharedCase, engine, is_podman, needs, needs_compose, pydock

PORTS = ("shell", "iopub", "stdin", "control", "hb")
CONNECTION: Dict[str, Any] = {"transport": "tcp", "ip": "127.0.0.1", "key": "k", **{name + "_port": 40001 + i for i, name in enumerate(PORTS)}}

# What a Jupyter is made of. argv: the name of the kernel, a folder.
JUPYTER = """
import os, signal, sys, time
from jupyter_client.manager import KernelManager
name, folder = sys.argv[1:3]

def start(folder=folder):
    manager = KernelManager(kernel_name=name)
    manager.start_kernel(cwd=folder)
    return manager, connected(manager)

def connected(manager):
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    return client

def told(client, code):
    out = []
    client.execute_interactive(code, timeout=60, output_hook=lambda m: out.append(m["content"].get("text") or m["content"].get("ename", "")))
    return "".join(out).strip()

def wait(condition):
    end = time.time() + 20
    while not condition() and time.time() < end:
        time.sleep(0.05)
    assert condition()
"""

NOTEBOOK = """
import json, os, sys
import nbformat
from nbclient import NotebookClient
cells = ["import os; open('made', 'w'); os.getcwd(), os.getuid()", "%matplotlib inline\\nimport matplotlib.pyplot as plt; plt.plot([1, 2]);"]
book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
NotebookClient(book, kernel_name=sys.argv[1], timeout=60, resources={"metadata": {"path": sys.argv[2]}}).execute()
print(json.dumps([output["data"] for cell in book.cells for output in cell.outputs]))
"""

LIFE = JUPYTER + """
manager, client = start()
assert told(client, "x = 6; print(x * 7)") == "42"
slow = client.execute("import time; time.sleep(60)")
time.sleep(0.5)
began = time.time()
manager.interrupt_kernel()
while client.get_iopub_msg(timeout=20)["content"].get("ename") != "KeyboardInterrupt":
    pass
assert time.time() - began < 5
client.get_shell_msg(timeout=20)
time.sleep(0.5)  # in which it still gives up what waits behind the one that failed
assert told(client, "print(x)") == "6"
for now in (False, True):
    client.stop_channels()
    manager.restart_kernel(now=now)
    client = connected(manager)
    assert told(client, "print(x)") == "NameError"
    told(client, "x = 1")
client.execute("import os; os.kill(os.getpid(), 9)")
wait(lambda: not manager.is_alive())
client.stop_channels()  # or the new kernel would see two of one name
manager.restart_kernel()
client = connected(manager)
assert told(client, "print(6 * 7)") == "42"
client.stop_channels()
manager.shutdown_kernel()
"""

TWO = JUPYTER + """
pairs = [start(), start()]
for number, (manager, client) in enumerate(pairs):
    told(client, "x = %d" % number)
print([told(client, "print(x)") for manager, client in pairs])
for manager, client in pairs:
    client.stop_channels()
    manager.shutdown_kernel()
"""

MEMORY = JUPYTER + """
manager, client = start()
print(told(client, "import os; print(os.environ['GREETING'])"))
client.execute("x = bytearray(10**9)")
wait(lambda: not manager.is_alive())
client.stop_channels()
manager.restart_kernel()
client = connected(manager)
print(told(client, "print(6 * 7)"))
client.stop_channels()
manager.shutdown_kernel()
"""

# Starts a kernel, kills what Jupyter has started, starts another one, and waits to be killed.
KILLED = JUPYTER + """
manager, client = start()
os.kill(manager.provisioner.process.pid, signal.SIGKILL)
manager, client = start()
told(client, "1")
open(folder + "/ready", "w")
time.sleep(1000)
"""


class Words(Case):
    """Without an engine."""

    def clean(self) -> None:
        shutil.rmtree(str(self.base))

    def write(self, **changed: Any) -> Path:
        path = self.work / "kernel-1.json"
        path.write_text(json.dumps({**CONNECTION, **changed}, indent=1), encoding="utf-8")
        return path

    def test_the_connection_as_the_container_gets_it(self) -> None:
        line, ports = pydock.read_connection(str(self.write(key="a\nb", more=["kept"])))
        self.assertEqual(json.loads(line), {**CONNECTION, "ip": "0.0.0.0", "key": "a\nb", "more": ["kept"]})
        self.assertNotIn("\n", line)
        self.assertEqual(ports, [f"127.0.0.1:{40001 + i}:{40001 + i}" for i in range(5)])

    def test_a_file_that_is_no_connection_is_refused(self) -> None:
        for changed in ({"hb_port": "40001"}, {"hb_port": None}, {"hb_port": -1}, {"hb_port": 70000}, {"ip": 1}, {"ip": "0.0.0.0"}, {"ip": "10.0.0.1"}, {"transport": "ipc"}):
            with self.subTest(changed), self.assertRaises(pydock.PydockError):
                pydock.read_connection(str(self.write(**changed)))
        path = self.write()
        (self.work / "link.json").symlink_to(path)
        os.mkfifo(str(self.work / "pipe.json"))
        for name, data in (("empty", b""), ("list", b"[]"), ("deep", b"[" * 100000), ("binary", b"\xff\xfe\x00")):
            (self.work / (name + ".json")).write_bytes(data)
        for name in ("link", "pipe", "empty", "list", "deep", "binary"):
            with self.subTest(name), self.assertRaises(pydock.PydockError):
                pydock.read_connection(str(self.work / (name + ".json")))

    def test_a_kernel_ends_where_stdin_does_and_its_file_is_its_own(self) -> None:
        helper, file = self.work / "helper", self.work / "file"
        helper.write_text(pydock.HELPER_FILE, encoding="utf-8")
        code = "cat; trap 'echo told; exit 3' TERM; echo begun; while :; do sleep 0.05; done"
        kernel = subprocess.Popen(["/bin/sh", str(helper), "kernel", str(file), "sh", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert kernel.stdin and kernel.stdout
        kernel.stdin.write('{"key": "a\\\\n b  "}\nmore\n')
        kernel.stdin.flush()
        self.assertEqual(kernel.stdout.readline(), "begun\n")  # with nothing on its own stdin
        self.assertEqual(file.read_text(encoding="utf-8"), '{"key": "a\\\\n b  "}\n')
        self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)
        self.assertIsNone(kernel.poll())
        kernel.stdin.close()
        self.assertEqual((kernel.wait(10), kernel.stdout.read()), (3, "told\n"))
        kernel.stdout.close()

    def test_where_jupyter_looks(self) -> None:
        for variable, value, folder in (("XDG_DATA_HOME", "/data", "/data/jupyter"), ("JUPYTER_DATA_DIR", "/own", "/own"), ("HOME", str(self.home), f"{self.home}/.local/share/jupyter")):
            with self.subTest(variable), mock.patch.dict(os.environ, {"HOME": str(self.home), variable: value}), mock.patch("sys.platform", "linux"):
                for other in {"XDG_DATA_HOME", "JUPYTER_DATA_DIR"} - {variable}:
                    os.environ.pop(other, None)
                self.assertEqual(pydock.jupyter_folder(), folder)

    def test_a_remote_engine_is_one_refusal(self) -> None:
        envs = self.home / ".pydock" / "envs" / "ds"
        envs.mkdir(parents=True)
        for name in ("dockerfile", "requirements.txt"):
            (envs / name).touch()
        self.fails("kernel", "ds", says="the engine is on another machine", environ={"DOCKER_HOST": "ssh://elsewhere", "PYDOCK_ENGINE": "docker"})
        self.fails("kernel", "--remove", "ds", says="ds is not a kernel of Jupyter")
        self.assertIn("no kernels; next: pydock kernel NAME", self.run_pydock("kernel").err)


class Notebooks(SharedCase):
    """What all tests of real notebooks need: Jupyter's own clients, and an environment that is a kernel."""

    packages = ["ipykernel"]
    library: Path

    @classmethod
    def setUpClass(cls) -> None:
        cls.library = Path(tempfile.gettempdir()) / ("pydock-test-jupyter-%d" % os.getuid())
        if not (cls.library / "nbclient").exists():
            new = tempfile.mkdtemp(prefix=cls.library.name)
            install = [sys.executable, "-m", "pip", "install", "-q", "--no-compile", "--disable-pip-version-check", "--target", new, "nbclient"]
            if subprocess.run(install, stderr=subprocess.DEVNULL).returncode:
                shutil.rmtree(new)
                raise unittest.SkipTest("no package index here that has nbclient")
            os.rename(new, cls.library)
        super().setUpClass()

    @classmethod
    def prepare(cls, case: Case) -> None:
        case.ok("create", "ds", PYTHON, *cls.packages)
        case.ok("kernel", "ds")

    def tearDown(self) -> None:
        self.assertEqual(self.containers(), [])

    def jupyter(self, code: str, folder: Path, name: str = "ds") -> subprocess.Popen[str]:
        folder.mkdir(exist_ok=True)
        return subprocess.Popen([sys.executable, "-c", code, f"{self.prefix}-{name}", str(folder)], cwd=str(self.base), text=True, stdout=subprocess.PIPE,
                                env={**self.environ, "PYTHONPATH": str(self.library)})

    def answer(self, code: str, folder: Path, name: str = "ds") -> str:
        process = self.jupyter(code, folder, name)
        out, _ = process.communicate(timeout=120)
        self.assertEqual(process.returncode, 0, out)
        return out

    def kill(self) -> None:
        """SIGKILL of what Jupyter has started, and of Jupyter."""
        process = self.jupyter(KILLED, self.base / "killed")
        self.wait_for((self.base / "killed" / "ready").exists, 60)
        self.wait_for(lambda: len(self.containers()) == 1)
        process.send_signal(signal.SIGKILL)
        process.wait()
        self.wait_for(lambda: not self.containers())


@needs(lambda: not is_podman(), "on docker")
class Kernel(Notebooks):
    packages = ["ipykernel", "matplotlib"]

    def test_a_notebook_in_another_folder(self) -> None:
        place, image = json.loads(self.answer(NOTEBOOK, self.base / "elsewhere"))
        self.assertEqual(place["text/plain"], repr((str(self.base / "elsewhere"), os.getuid())))
        self.assertTrue(image["image/png"])
        self.assertEqual((self.base / "elsewhere" / "made").stat().st_uid, os.getuid())

    def test_interrupt_restart_and_death(self) -> None:
        self.answer(LIFE, self.work)

    def test_two_at_once(self) -> None:
        self.assertEqual(self.answer(TWO, self.work), "['0', '1']\n")

    def test_killed_it_leaves_nothing(self) -> None:
        self.kill()

    def test_only_its_own_ports_on_this_host(self) -> None:
        code = JUPYTER + "manager, client = start()\nprint(sorted(manager.ports), manager.session.key.decode(), flush=True)\ntime.sleep(1000)"
        process = self.jupyter(code, self.base / "ports")
        self.addCleanup(process.kill)
        assert process.stdout
        with process.stdout as out:
            line, key = out.readline().rsplit(maxsplit=1)
            ports = json.loads(line)
        name, = self.containers()
        found = json.loads(engine("inspect", "--format", "{{json .NetworkSettings.Ports}}", name))
        self.assertEqual({key: [(one["HostIp"], one["HostPort"]) for one in value] for key, value in found.items() if value},
                         {f"{port}/tcp": [("127.0.0.1", str(port))] for port in ports})
        line = engine("inspect", name)
        self.assertIn("no-new-privileges", line)
        self.assertNotIn(key, line)
        process.kill()
        process.wait()
        self.wait_for(lambda: not self.containers())

    @needs_compose
    def test_a_compose_file_counts_and_it_may_die_of_memory(self) -> None:
        self.ok("create", "served", "--from", self.prefix + "-ds")
        more = "    init: true\n    environment: {GREETING: hello}\n    mem_limit: 300m\n    memswap_limit: 300m\n"
        text = pydock.COMPOSE_FILE.replace("    init: true\n", more)
        (self.folder("served") / "docker-compose.yml").write_text(text, encoding="utf-8")
        self.ok("trust", "-y", "served")
        self.ok("kernel", "served")
        self.assertEqual(self.answer(MEMORY, self.work, "served").split(), ["hello", "42"])
        self.ok("delete", "-y", "served")

    def test_a_project_and_what_becomes_of_its_kernel(self) -> None:
        project, kernels = self.base / "project", self.home / ".local/share/jupyter/kernels"
        project.mkdir()
        self.ok("--local", "create", "dev", "--from", self.prefix + "-ds", cwd=project)
        self.ok("kernel", "dev", cwd=project)
        spec, = kernels.glob("*-dev__*")
        self.assertEqual(json.loads((spec / "kernel.json").read_text(encoding="utf-8"))["display_name"], f"dev ({project})")
        self.assertRegex(self.ok("kernel"), rf"(?m)^{spec}  dev +{project}/.pydock/envs/dev$")
        self.assertNotIn("kernels", self.run_pydock("link").out)
        (project / "notebooks").mkdir()
        self.assertIn(str(project / "notebooks"), self.answer(NOTEBOOK, project / "notebooks", spec.name[len(self.prefix) + 1:]))
        self.fails("rename", "dev", "new", says="is a link to dev", hint="pydock kernel --remove dev", cwd=project)
        self.ok("kernel", "--remove", "dev", cwd=project)
        self.assertFalse(os.path.lexists(spec))
        spec.mkdir()  # somebody's own
        self.fails("kernel", "dev", says="already exists", cwd=project)
        spec.rmdir()
        self.ok("kernel", "dev", cwd=project)
        self.ok("create", "bare", PYTHON, cwd=project)
        self.fails("kernel", "bare", says="bare has no ipykernel", hint="pydock install bare ipykernel", cwd=project)
        self.ok("delete", "-y", "dev", cwd=project)
        self.assertEqual([path.name for path in kernels.iterdir()], [self.prefix + "-ds"])


@needs(is_podman, "on podman")
class OnPodman(Notebooks):
    def test_two_at_once_and_killed(self) -> None:
        self.assertEqual(self.answer(TWO, self.work), "['0', '1']\n")
        self.kill()


if __name__ == "__main__":
    unittest.main()
