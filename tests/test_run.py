"""`run` and `shell`: a program in an environment behaves as if it ran on the host (design.md, section 5)."""
from __future__ import annotations

import json
import os
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import unittest
from pathlib import Path
from typing import Any, Dict

import contract
from support import (
    ENGINE, INNER_HOME, PRINT, PYTHON, ROOT, SECRET, SLEEP, Case, RunCase, as_user, docker_groups, engine, one_engine_for_all, pydock,
)

class Arguments(contract.Arguments):
    def test_options_before_the_name_are_pydocks_and_after_it_the_programs(self) -> None:
        self.assertEqual(self.words_of("run", "-e", "A=1", "e", *PRINT, "-e", "A=2"), [b"-e", b"A=2"])
        self.assertEqual(self.words_of("--global", "-q", "run", "e", *PRINT, "--local"), [b"--local"])
        self.assertEqual(self.words_of("run", "--global", "-q", "e", *PRINT, "--local"), [b"--local"])

class Options(contract.Options):
    def free_port(self) -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return int(probe.getsockname()[1])

    def serve(self, publish: str, inside: int) -> subprocess.Popen[str]:
        (self.work / "page").write_text("the page", encoding="utf-8")
        process = self.start("run", "-p", publish, "e", "python", "-m", "http.server", str(inside), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(self.finish, process)
        self.addCleanup(process.terminate)
        return process

    def test_a_port_is_open_on_this_host_alone(self) -> None:
        port = self.free_port()
        process = self.serve(str(port), port)
        self.wait_for(lambda: self.fetched(port), 60)
        addresses = {"127.0.0.2", socket.gethostbyname(socket.gethostname())} - {"127.0.0.1"}
        for address in addresses:
            with socket.socket() as probe:
                probe.settimeout(3)
                self.assertNotEqual(probe.connect_ex((address, port)), 0, "open on %s" % address)
        ports = engine("inspect", "--format", "{{range .NetworkSettings.Ports}}{{range .}}{{.HostIp}}:{{.HostPort}} {{end}}{{end}}", self.containers()[0])
        self.assertEqual(ports.split(), ["127.0.0.1:%d" % port])
        process.terminate()
        self.assertIn(self.finish(process), (143, -15))

    def test_two_ports_are_that_of_the_host_and_that_inside(self) -> None:
        port = self.free_port()
        process = self.serve("%d:8000" % port, 8000)
        self.wait_for(lambda: self.fetched(port), 60)
        process.terminate()
        self.assertIn(self.finish(process), (143, -15))

    def test_an_address_that_is_given_stays(self) -> None:
        for given, value in (("8888", "127.0.0.1:8888:8888"), ("80:8000", "127.0.0.1:80:8000"), ("0.0.0.0:80:8000", "0.0.0.0:80:8000"), ("[::1]:80:8000", "[::1]:80:8000"),
                             ("53/udp", "127.0.0.1:53:53/udp"), ("5300:53/udp", "127.0.0.1:5300:53/udp")):
            self.assertEqual(pydock.publish_value(given), value)

    def test_volumes_absolute_and_relative(self) -> None:
        (self.work / "data").mkdir()
        (self.work / "data" / "f").write_text("in data", encoding="utf-8")
        (self.home / "below").mkdir(exist_ok=True)
        (self.home / "below" / "f").write_text("in home", encoding="utf-8")
        for volume in ("%s:/mnt/x" % (self.work / "data"), "./data:/mnt/x", "./data:/mnt/x:ro", "data/../data:/mnt/x"):
            self.assertEqual(self.ok("run", "-v", volume, "e", "cat", "/mnt/x/f"), "in data", volume)
        self.assertEqual(self.ok("run", "-v", "~/below:/mnt/x", "e", "cat", "/mnt/x/f"), "in home")
        self.assertEqual(self.ok("run", "--volume=.:/mnt/x", "-v./data:/mnt/y", "e", "cat", "/mnt/x/data/f", "/mnt/y/f"), "in datain data")
        self.bytes_of("run", "-v", "./data:/mnt/x:ro", "e", "touch", "/mnt/x/new", status=1)
        self.assertEqual(os.listdir(str(self.work / "data")), ["f"])

    def test_a_named_volume_keeps_docker_s_meaning(self) -> None:
        volume = self.prefix + "-volume"
        self.addCleanup(engine, "volume", "rm", "-f", volume, check=False)
        self.ok("run", "--root", "-v", volume + ":/mnt/x", "e", "sh", "-c", "echo kept > /mnt/x/f")
        self.assertEqual(self.ok("run", "-v", volume + ":/mnt/x", "e", "cat", "/mnt/x/f"), "kept\n")

    def test_a_missing_source_is_an_error_before_anything_starts(self) -> None:
        for source in (str(self.work / "no"), "./no", "~/no", "no/such"):
            self.fake()
            self.fails("run", "-v", source + ":/mnt/x", "e", "touch", "ran", says="no")
            self.assertNotIn("run", " ".join(self.calls()), source)
            self.no_fake()
        self.assertEqual(os.listdir(str(self.work)), [])
        self.assertFalse((self.home / "no").exists())

    def test_no_network(self) -> None:
        self.assertEqual(self.ok("run", "--network", "none", "e", "ls", "/sys/class/net"), "lo\n")

    def test_anything_else_is_handed_to_docker(self) -> None:
        code = "import os; s = os.statvfs('/dev/shm'); print(s.f_blocks * s.f_frsize >> 20)"
        for words in (["-o", "--shm-size=23m"], ["-o", "shm-size=23m"], ["--option", "--shm-size=23m"], ["--option=--shm-size=23m"], ["-o--shm-size=23m"]):
            self.assertEqual(self.ok("run", *words, "e", "python", "-c", code), "23\n", words)
        out = self.ok("run", "-o", "--hostname=other", "-o", "--add-host=name:10.1.2.3", "e", "sh", "-c", "hostname; grep name /etc/hosts")
        self.assertEqual(out.split(), ["other", "10.1.2.3", "name"])

    def test_gpus_and_platform_reach_docker(self) -> None:
        words = shlex.split(self.ok("-n", "run", "--gpus", "all", "--platform=linux/amd64", "e", "true"))
        image = next(i for i, word in enumerate(words) if word.startswith(self.prefix + "-e:") or word.endswith("/" + self.prefix + "-e:latest"))
        self.assertIn("--gpus all --platform linux/amd64", " ".join(words[:image]).replace("=", " "))

class Streams(contract.Streams):
    pass


class Status(contract.Status):
    def test_a_missing_program_gets_the_line_that_brings_it(self) -> None:
        result = self.run_pydock("run", "e", "no-such-program", "-q")
        self.assertEqual(result.status, 127)
        self.assertEqual(result.err.splitlines()[-2:], ["pydock: error: no-such-program is not in e",
                         "hint: pydock install e no-such-program; for a system program: pydock install e --apt no-such-program"])
        (self.work / "script.py").write_text("")
        self.assertTrue(self.run_pydock("run", "e", "script.py", "a b").err.endswith("\nhint: pydock run e python script.py 'a b'\n"))
        self.assertNotIn("is not in", self.run_pydock("run", "e", "sh", "-c", "exit 127").err)
        self.assertNotIn("is not in", self.run_pydock("run", "e", "./no-such-program").err)
        self.assertEqual(self.containers(), [])

    def test_run_becomes_the_engines_client(self) -> None:
        with open(str(self.work / "out"), "w") as out:
            process = self.start("run", "e", *SLEEP, stdout=out)
            self.addCleanup(self.finish, process)
            self.addCleanup(process.kill)
            self.ready()
            words = Path("/proc/%d/cmdline" % process.pid).read_bytes().split(b"\0")
            self.assertIn(b"--rm", words)
            self.assertFalse([word for word in words if word.endswith(b"pydock.py")], words)
            process.terminate()
            self.finish(process)

class Signals(contract.Signals, contract.EarlySignals):
    def test_ctrl_c_ends_a_program_that_does_not_handle_it(self) -> None:
        terminal = self.terminal("run", "e", *SLEEP)
        self.ready()
        terminal.type("\x03")
        self.assertEqual(terminal.wait(), -signal.SIGINT)  # 130, to a shell

class FallbackSignals(Signals, contract.Arguments, contract.Status):
    """The same where the engine has no --init."""

    def setUp(self) -> None:
        super().setUp()
        program = self.work / "without_init.py"
        text = "import sys\nsys.path.insert(0, %r)\nimport pydock\npydock.Engine.has_init = lambda self: False\nraise SystemExit(pydock.main())\n"
        program.write_text(text % str(ROOT), encoding="utf-8")
        self.program = [sys.executable, "-IS", str(program)]

    def test_there_is_no_init_option(self) -> None:
        self.assertNotIn("--init", shlex.split(self.ok("-n", "run", "e", "true")))


class OnATerminal(contract.OnATerminal, contract.Shell):
    def test_pip_install_in_a_shell_ends_with_it(self) -> None:
        program = "pip install -q --disable-pip-version-check six >&2 && python -c 'import six; print(six.__name__)'"
        self.assertEqual(self.ok("shell", "e", input=program + "\n"), "six\n")
        self.assertEqual(self.run_pydock("run", "e", "sh", "-c", "python -c 'import six' 2>/dev/null").status, 1)

    def test_shell_from_the_home_folder_has_the_environment_before_what_the_hosts_bashrc_brings(self) -> None:
        other = self.home / "conda/bin/python"
        other.parent.mkdir(parents=True)
        other.write_text("#!/bin/sh\necho conda\n", encoding="utf-8")
        other.chmod(0o755)
        rc = self.home / ".bashrc"
        rc.write_text("PATH=~/conda/bin:$PATH PS1='mine: '\nalias python=~/conda/bin/python own='echo own'\n", encoding="utf-8")
        self.addCleanup(rc.unlink)
        terminal = self.terminal("shell", "e", cwd=self.home)
        terminal.expect("(e) mine: ")
        terminal.type("stty -echo; command -v python; own alias; type find stat; exit 9\n")
        terminal.expect("/opt/venv/bin/python\nown alias\nfind is /usr/bin/find\nstat is /usr/bin/stat\n")
        self.assertEqual(terminal.wait(), 9)

    def test_shell_without_a_terminal_reads_commands_from_stdin(self) -> None:
        result = self.run_pydock("shell", "e", input="echo one\npwd\nexit 3\n")
        self.assertEqual((result.status, result.out, result.err), (3, "one\n%s/%s\n" % (INNER_HOME, self.work.name), ""))

class Folders(RunCase):
    def test_a_folder_below_home_keeps_its_place(self) -> None:
        folder = self.home / "proj" / "sub"
        folder.mkdir(parents=True)
        (folder / "f").write_text("here", encoding="utf-8")
        self.assertEqual(self.ok("run", "e", "sh", "-c", "pwd; cat f %s/proj/sub/f; cat %s/f" % (INNER_HOME, folder), cwd=folder), "%s/proj/sub\nhereherehere" % INNER_HOME)

    def test_a_folder_elsewhere_is_in_the_home_by_its_last_name(self) -> None:
        (self.work / "f").write_text("here", encoding="utf-8")
        self.assertEqual(self.ok("run", "e", "sh", "-c", "pwd; cat %s/f" % self.work), "%s/%s\nhere" % (INNER_HOME, self.work.name))

    def test_the_home_itself(self) -> None:
        (self.home / "f-of-home").write_text("here", encoding="utf-8")
        out = self.ok("run", "e", "sh", "-c", "pwd; cat ~/f-of-home; python -c 'import sys; print(sys.prefix)'", cwd=self.home)
        self.assertEqual(out, "%s\nhere/opt/venv\n" % INNER_HOME)

    def test_what_is_written_is_on_the_host(self) -> None:
        self.ok("run", "e", "sh", "-c", "echo 1 > a; echo 2 > %s/b" % self.work)
        self.assertEqual(sorted(os.listdir(str(self.work))), ["a", "b"])

    def test_awkward_names(self) -> None:
        for name in ("a:b", "a,b", "a b", 'a"b', "a'b", "a\nb", "été 日本", "$(id)", " lead", "tail ", "a\\b", "-dash", "a=b", ",target=etc", '"', "a;b", "%41"):
            with self.subTest(name=name):
                folder = self.work / name
                folder.mkdir()
                (folder / "in").write_text("here", encoding="utf-8")
                result = self.run_pydock("run", "e", "python", "-c", "import os; print(repr(os.getcwd())); print(open('in').read()); open('out', 'w').close()", cwd=folder)
                if result.status and self.cannot_mount(folder):
                    continue
                self.assertEqual(result.out, "%r\nhere\n" % (INNER_HOME + "/" + name), result)
                self.assertTrue((folder / "out").exists())

    def cannot_mount(self, folder: Path) -> bool:
        """Whether the engine itself cannot mount the folder."""
        value = pydock.mount_value(str(folder), "/mnt/" + folder.name)
        command = [*ENGINE, "run", "--rm", "--pull", "never", "--mount", value, "python:%s-slim" % PYTHON, "true"]
        return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode != 0

    def test_a_name_that_is_no_utf8_works_or_is_one_clear_error(self) -> None:
        folder = self.work / os.fsdecode(b"caf\xe9")
        folder.mkdir()
        result = self.run_pydock("run", "e", "touch", "made", cwd=folder)
        if result.status:
            self.assertEqual(len([line for line in result.err.splitlines() if line.startswith("pydock: error: ")]), 1, result)
            self.assertLessEqual(len(result.err.splitlines()), 2, result)
        else:
            self.assertTrue((folder / "made").exists())

    def test_folders_of_the_system_are_not_mounted(self) -> None:
        for folder in ("/", "/proc"):
            self.assertEqual(self.ok("run", "e", "sh", "-c", "pwd; ls", cwd=Path(folder)), INNER_HOME + "\n")
            self.fails("start", "e", cwd=Path(folder), says=folder, hint="cd ")

    def test_an_argument_that_is_on_the_host_and_not_inside_is_said_where_the_program_fails(self) -> None:
        data = self.base / "data of mine"
        data.mkdir()
        for path in (data / "x.csv", self.work / "here"):
            path.write_text("here", encoding="utf-8")
        (self.work / "link").symlink_to(data / "x.csv")
        typed = "-v '%s/x.csv':'%s/x.csv' e" % (data, data)
        for word in (str(data / "x.csv"), "link", os.path.relpath(str(data / "x.csv"), str(self.work))):
            done = self.run_pydock("run", "e", "cat", "here", word)
            self.assertEqual((done.status, done.out), (1, "here"), done)
            self.assertEqual(done.err.splitlines()[1:], ["pydock: warning: %s is on this host, but not in e (hint: pydock run %s ...; for always: pydock config --global mounts DIR)" % (word, typed)])
        for line in (["run", "e", "cat", "here", "/nowhere", "-", str(self.work / "here")], ["run", "e", "sh", "-c", "exit 3", "/etc/hostname", "here"],
                     ["run", "-v", "%s:%s" % (data, data), "e", "sh", "-c", "exit 3", str(data / "x.csv")]):
            self.assertNotIn("warning", self.run_pydock(*line).err)
        self.assertEqual(self.ok("run", "e", "echo", str(data)), "%s\n" % data)

    def test_a_folder_reached_by_a_symbolic_link_is_there_under_both_names(self) -> None:
        real, link = self.work / "real" / "sub", self.work / "link"
        real.mkdir(parents=True)
        link.symlink_to("real")
        code = "pwd; touch %s/made %s/sub/also" % (real, link)
        program = [*self.program, "run", "e", "sh", "-c", code]
        out = subprocess.run(["sh", "-c", 'cd "$0/sub" && exec "$@"', str(link), *program], env=self.environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, timeout=60)
        self.assertEqual((out.returncode, out.stdout), (0, INNER_HOME + "/sub\n"))
        self.assertEqual(sorted(os.listdir(str(real))), ["also", "made"])

    def test_the_folders_of_the_image_are_not_hidden(self) -> None:
        for folder in ("/etc", "/usr", "/usr/lib", "/tmp", "/var/lib", "/opt", "/bin"):
            if os.path.isdir(folder):
                self.assertEqual(self.ok("run", "e", "python", "-c", "import os; print(os.getcwd())", cwd=Path(folder)),
                                 "%s/%s\n" % (INNER_HOME, os.path.basename(os.path.realpath(folder))))

    def test_a_deleted_current_folder_is_an_error(self) -> None:
        command = "rmdir . 2>/dev/null || rmdir %s; exec %s run e true" % (shlex.quote(str(self.work)), " ".join(map(shlex.quote, self.program)))
        done = subprocess.run(["sh", "-c", command], cwd=str(self.work), env=self.environ, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=60)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(len([line for line in done.stderr.splitlines() if line.startswith("pydock: error: ")]), 1, done.stderr)
        self.assertLessEqual(len(done.stderr.splitlines()), 2)
        self.work.mkdir()

    def test_a_local_environment_mounts_its_project_and_starts_in_the_current_folder(self) -> None:
        project = self.home / "project x"
        sub = project / "a" / "b"
        sub.mkdir(parents=True)
        (project / "top").write_text("of the top", encoding="utf-8")
        self.ok("--local", "create", "dev", cwd=project)
        self.assertEqual(self.ok("run", "dev", "sh", "-c", "pwd; cat ../../top", cwd=sub), "%s/project x/a/b\nof the top" % INNER_HOME)
        outside = self.work / "elsewhere"
        shutil.copytree(str(project), str(outside), symlinks=True)
        self.assertEqual(self.ok("run", "dev", "sh", "-c", "pwd; cat ../top", cwd=outside / "a"), "%s/elsewhere/a\nof the top" % INNER_HOME)


class Images(RunCase):
    """Each with an environment of its own, since its image goes."""

    @classmethod
    def prepare(cls, case: Case) -> None:
        case.ok("create", "e")

    def test_a_missing_image_is_built_first_with_one_line(self) -> None:
        self.ok("create", "fresh", "--no-build")
        result = self.run_pydock("run", "fresh", "echo", "ran")
        self.assertEqual((result.status, result.out), (0, "ran\n"), result)
        self.assertEqual(len(result.err.splitlines()), 1, result)
        self.assertIn("fresh", result.err)
        self.assertEqual(self.run_pydock("run", "fresh", "true").err, "")

    def test_an_image_deleted_behind_its_back_is_built_again(self) -> None:
        self.ok("create", "gone")
        for tag in self.tags("gone"):
            engine("rmi", "-f", tag)
        self.assertEqual(self.listed()["gone"]["state"], "missing")
        result = self.run_pydock("run", "gone", "echo", "ran")
        self.assertEqual((result.status, result.out), (0, "ran\n"), result)
        self.assertEqual(self.listed()["gone"]["state"], "ready")

    def test_an_image_older_than_its_files_warns_in_one_line_and_runs(self) -> None:
        self.ok("create", "old")
        with open(str(self.folder("old") / "requirements.txt"), "a", encoding="utf-8") as file:
            file.write("# edited\n")
        result = self.run_pydock("run", "old", "echo", "ran")
        self.assertEqual((result.status, result.out), (0, "ran\n"), result)
        self.assertEqual(len(result.err.splitlines()), 1, result)
        self.assertIn("pydock build old", result.err)
        self.ok("build", "old")
        self.assertEqual(self.run_pydock("run", "old", "true").err, "")

    def test_no_image_is_pulled_in_place_of_a_missing_one(self) -> None:
        words = shlex.split(self.ok("-n", "run", "e", "true"))
        self.assertEqual(words[words.index("--pull") + 1], "never")


@one_engine_for_all
@unittest.skipUnless(os.geteuid() == 0, "only root can become other users")
class Users(Case):
    CODE = ("import getpass, os, pwd\n"
            "me = pwd.getpwuid(os.getuid())\n"
            "print(getpass.getuser(), me.pw_name, me.pw_dir, os.path.expanduser('~'), os.environ['HOME'], os.getuid(), os.getgid())")

    def become(self, uid: int, gid: int) -> Dict[str, Any]:
        self.give_to(uid)
        return {"preexec_fn": as_user(uid, gid, docker_groups())}

    def check(self, uid: int, gid: int) -> None:
        me = self.become(uid, gid)
        try:
            name = pwd.getpwuid(uid).pw_name
        except KeyError:
            name = "user"
        self.ok("create", "e", **me)
        expected = " ".join((name, name) + ("/home/" + name,) * 3 + (str(uid), str(gid)))
        self.assertEqual(self.ok("run", "e", "python", "-c", self.CODE, **me), expected + "\n")
        self.assertEqual(self.ok("run", "e", "sh", "-c", "whoami; echo ~; touch made ~/own; mkdir folder", **me).split(), [name, "/home/" + name])
        for made in ("made", "folder"):
            stat = (self.work / made).stat()
            self.assertEqual((stat.st_uid, stat.st_gid), (uid, gid), made)
        self.ok("run", "e", "pip", "--version", **me)
        self.ok("delete", "-y", "e", **me)
        self.assertEqual(self.tags(), {})

    def test_a_user_that_nobody_knows(self) -> None:
        self.check(54321, 54321)

    def test_a_uid_that_the_base_image_uses_too(self) -> None:
        self.check(33, 33)

    def test_a_uid_and_a_gid_of_different_system_accounts(self) -> None:
        self.check(1, 100)

    def test_the_group_is_the_callers_present_one(self) -> None:
        self.ok("create", "e", **self.become(1234, 1234))
        other: Dict[str, Any] = {"preexec_fn": as_user(1234, 4321, docker_groups())}
        self.assertEqual(self.ok("run", "e", "sh", "-c", "touch made; id -g", **other), "4321\n")
        self.assertEqual((self.work / "made").stat().st_uid, 1234)

    def test_an_image_of_another_user_is_an_error(self) -> None:
        self.ok("create", "e", **self.become(1234, 1234))
        other: Dict[str, Any] = {"preexec_fn": as_user(1235, 1235, docker_groups())}
        self.fails("run", "e", "true", says="belongs to another user (uid 1234)", hint="chown", **other)
        for path in (self.home, *self.home.glob(".pydock/**/*"), self.home / ".pydock"):
            os.chown(str(path), 1235, -1)
        self.fails("run", "e", "true", says="1234", hint="pydock build e", **other)
        self.assertEqual(self.ok("run", "--root", "e", "id", "-u", **other), "0\n")
        self.assertEqual(self.containers(), [])

    def test_a_user_that_the_dockerfile_fixes_runs_as_that_one(self) -> None:
        self.ok("create", "e", "--user", "4711:ada")
        self.assertEqual(self.ok("run", "e", "sh", "-c", "whoami; id -u; echo ~"), "ada\n4711\n/home/ada\n")

    def test_a_cache_in_a_volume_is_the_callers_and_known_to_list_delete_and_prune(self) -> None:
        me = self.become(1234, 1234)
        self.environ["PYDOCK_CACHE"] = "volume"
        volumes = ["%s-%s--cache-%s" % (self.prefix, name, pydock.sha256(str(self.folder(name)).encode())[:8]) for name in ("e", "gone")]
        self.addCleanup(lambda: engine("volume", "rm", "-f", *volumes, check=False))
        self.ok("create", "e", **me)
        self.ok("run", "e", "sh", "-c", "mkdir ~/.cache/models; echo large >~/.cache/models/one", **me)
        self.assertEqual(self.ok("run", "e", "sh", "-c", "cat ~/.cache/models/one; stat -c %u ~/.cache", **me), "large\n1234\n")
        self.assertEqual(json.loads(self.ok("list", "--json", **me))[0]["cache"], volumes[0])
        self.assertIn("ready, cache", self.ok("list", **me))
        self.assertNotIn("--cache", self.ok("-n", "run", "e", "true", cwd=self.home, **me), "there the host's own is mounted")
        self.ok("clone", "e", "gone", **me)
        self.ok("run", "gone", "sh", "-c", "test ! -e ~/.cache/models", **me)
        shutil.rmtree(str(self.folder("gone")))
        self.assertRegex(self.ok("prune", "-y", **me), r"(?m)^%s +orphaned" % volumes[1])
        result = self.run_pydock("delete", "-y", "e", **me)
        self.assertIn("also deleting the ~/.cache of e: volume " + volumes[0], result.err)
        self.assertFalse(set(volumes) & set(engine("volume", "ls", "-q").split()))

    def test_an_unreadable_current_folder_is_one_clear_error(self) -> None:
        me = self.become(1234, 1234)
        self.ok("create", "e", **me)
        self.work.chmod(0)
        # The folder is entered by root, as by a shell that was there before its mode changed.
        result = self.run_pydock("run", "e", "true", **me)
        self.assertEqual(self.containers(), [])
        self.work.chmod(0o755)
        if result.status:
            self.assertEqual(len([line for line in result.err.splitlines() if line.startswith("pydock: error: ")]), 1, result)
            self.assertLessEqual(len(result.err.splitlines()), 2, result)


SUDO = r"""#!{python} -IS
# As the real one: keeps few variables, closes files, sets those that stand before the command.
import os, sys
words = sys.argv[1:]
environ = {{key: os.environ[key] for key in ("PATH", "TERM", "LANG", "DOCKER_HOST", "DOCKER_CONFIG", "CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF") if key in os.environ}}
environ.update(HOME="/nonexistent", SUDO_USER="somebody")
while "=" in words[0]:
    key, _, value = words.pop(0).partition("=")
    environ[key] = value
with open({log!r}, "a") as log:
    log.write(words[0] + "\n")
os.closerange(3, 1024)
os.execvpe(words[0], words, environ)
"""


def shown(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it ended
        return b""


class Sudo(Case):
    def setUp(self) -> None:
        super().setUp()
        folder = self.base / "sudo"
        folder.mkdir()
        self.log = self.base / "sudo.log"
        (folder / "sudo").write_text(SUDO.format(python=sys.executable, log=str(self.log)), encoding="utf-8")
        (folder / "sudo").chmod(0o755)
        self.environ.update(PATH=str(folder) + os.pathsep + self.environ["PATH"], PYDOCK_ENGINE="sudo " + ENGINE[-1])

    def test_sudo_docker_as_engine(self) -> None:
        self.ok("create", "e", "six==1.16.0")
        self.assertEqual(self.requirements("e"), "six==1.16.0\n")
        self.assertEqual(self.ok("run", "e", "python", "-c", "import six; print(six.__version__)"), "1.16.0\n")
        self.assertEqual(self.ok("run", "e", "cat", input="through sudo\n"), "through sudo\n")
        self.assertEqual(self.ok("run", "-e", "A=1", "-e", "B", "e", "sh", "-c", 'echo "$A $B"', environ={"B": "of the host"}), "1 of the host\n")
        with open(self.base / "out", "w", encoding="utf-8") as out:  # no pipe, no terminal
            process = self.start("run", "-e", "B", "e", "sh", "-c", "echo $B; sleep 3", environ={"B": SECRET}, stdout=out, stderr=out)
            self.wait_for(lambda: SECRET in (self.base / "out").read_text(encoding="utf-8"))
            lines = [shown(path) for path in Path("/proc").glob("[0-9]*/cmdline")]
            self.assertTrue(any(b"--env-file" in line for line in lines))
            self.assertFalse(any(SECRET.encode() in line for line in lines), "on a command line")
            self.assertEqual(process.wait(30), 0)
        self.assertIn('B="$B"', self.ok("-n", "run", "-e", "B", "e", "true"))
        self.fails("run", "-e", "B", "e", "true", environ={"B": "1\n2"}, says="sudo would show the value of B")
        self.assertEqual(self.run_pydock("run", "e", "sh", "-c", "exit 6").status, 6)
        self.ok("run", "e", "touch", "made")
        self.assertEqual((self.work / "made").stat().st_uid, os.getuid())
        (self.folder("e") / "requirements.txt").write_text("iniconfig==2.0.0\n", encoding="utf-8")
        self.ok("build", "e")
        self.assertEqual(self.listed()["e"]["state"], "ready")
        self.ok("delete", "-y", "e")
        self.assertEqual(self.tags(), {})
        self.assertEqual(set(self.log.read_text(encoding="utf-8").split()), {ENGINE[-1]})


class EveryPython(unittest.TestCase):
    """The pure part of the arguments, under each Python from 3.9 up that is on this machine; no engine."""

    CODE = """
import sys
sys.path.insert(0, sys.argv[1])
import pydock
weird = ["a b", "", "--", "-p", "80", "\\udcff", "--flag=x", "-n", "-h"]
for argv in (["run", "e", "prog", *weird], ["run", "e", "--", "prog", *weird], ["run", "--", "e", "prog", *weird]):
    args = pydock.parse(argv)
    assert (args.name, args.command, args.dry_run) == ("e", ["prog", *weird], False), (argv, args)
args = pydock.parse(["--local", "run", "-p", "80", "-p81", "--publish=82", "-e", "-x=1", "-v", "-odd:/x", "-o",
                     "--shm-size=1g", "--option=--init", "--network", "none", "--root", "-n",
                     "e", "x", "-p", "83"])
assert args.publish == ["80", "81", "82"] and args.env == ["-x=1"] and args.volume == ["-odd:/x"], args
assert args.option == ["--shm-size=1g", "--init"] and args.network == ["none"] and args.root and args.dry_run and args.mode == "local", args
assert args.command == ["x", "-p", "83"], args
assert pydock.split_command(["-p", "1", "e", "x", "--", "y"]) == (["--publish=1", "e"], ["x", "--", "y"])
assert pydock.split_command(["e", "--", "--", "y"]) == (["e"], ["--", "y"])
args = pydock.parse(["install", "e", "six", "--pre", "--", "--no-deps", "-v"])
assert args.packages == ["six"] and args.pre and args.installer_args == ["--no-deps", "-v"], args
for bad in (["run", "e"], ["run", "--publ", "80", "e", "x"], ["run", "--nope", "e", "x"], ["nope"], ["shell", "e", "x"], ["list", "--", "x"]):
    try:
        pydock.parse(bad)
    except pydock.PydockError as error:
        assert error.status == 2 and str(error) and error.hint, bad
    else:
        raise AssertionError(bad)
print("good")
"""

    def test_arguments_are_the_same_under_every_python(self) -> None:
        found = {sys.executable}
        for folder in [*os.environ.get("PATH", "").split(os.pathsep), *map(str, Path.home().glob(".pyenv/versions/*/bin"))]:
            found.update(os.path.join(folder, "python3.%d" % minor) for minor in range(9, 20))
        for python in sorted(found):
            if subprocess.run([python, "-IS", "-c", ""], stderr=subprocess.DEVNULL).returncode == 0 if os.access(python, os.X_OK) else False:
                with self.subTest(python=python):
                    done = subprocess.run([python, "-IS", "-c", self.CODE, str(ROOT)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
                    self.assertEqual(done.stdout, "good\n", done.stderr)


if __name__ == "__main__":
    unittest.main()
