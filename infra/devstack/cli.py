"""`eider stack`: the development system from the shell."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from infra.devstack import bench
from infra.devstack.datafolder import end_holder, lock_holder
from infra.devstack.endpoints import FILE_NAME, DemoStaff, Endpoints
from infra.devstack.faults import StackFault
from infra.devstack.stack import Existing, Stack, default_data_dir
from infra.devstack.supervisor import Supervisor

if TYPE_CHECKING:
    from mailcore.cli import Subparsers

WEB = {"api": ("127.0.0.1", "/docs"), "portal": ("localhost", "/")}
"""Ports that a browser opens, and where; passkeys want a name."""
UP_TIMEOUT_S = 180.0
DOWN_TIMEOUT_S = 15.0


def register(subparsers: Subparsers) -> None:
    """Add the noun `stack` and its verbs."""
    parser = subparsers.add_parser("stack", help="run the development system", description=__doc__)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    run = _verb(verbs, "run", _run, "start in the foreground, with servers and demo; Ctrl-C stops")
    up = _verb(verbs, "up", _up, "start in the background")
    for starter in (run, up):
        starter.add_argument("--nodes", type=int, choices=(1, 3), help="members of the main replica set")
        starter.add_argument("--new-ports", action="store_true", help="choose all ports anew")
        starter.add_argument("--databases-only", action="store_true", help="no servers, no demo")
        starter.add_argument("--no-demo", action="store_true", help="no demo tenants")
    _verb(verbs, "down", _down, "stop what runs on the data folder")
    _verb(verbs, "status", _status, "say what runs on the data folder, and where")
    load = verbs.add_parser("bench", help="start a fresh stack for the load harness", description=bench.__doc__)
    bench.add_options(load)
    load.set_defaults(run=lambda options: _guarded(bench.run, options))
    execute = _verb(verbs, "exec", _exec, "run a command on fresh databases that are thrown away after it")
    execute.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND", help="the command and its arguments")


def _verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run: Callable[[argparse.Namespace], int],
    text: str,
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=text, description=text)
    parser.add_argument("--data", type=Path, default=default_data_dir(), help="data folder (%(default)s)")
    parser.set_defaults(run=lambda options: _guarded(run, options))
    return parser


def _guarded(run: Callable[[argparse.Namespace], int], options: argparse.Namespace) -> int:
    """Run a verb; a fault of the stack is one line and status 1."""
    try:
        return run(options)
    except StackFault as fault:
        print(f"eider stack: {fault}", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace) -> int:
    started = time.monotonic()
    stack = Stack(
        options.data,
        nodes=options.nodes,
        new_ports=options.new_ports,
        existing=Existing.from_environment(os.environ),
    )
    supervisor = Supervisor(
        stack,
        with_servers=not options.databases_only,
        with_demo=not options.no_demo,
    )

    def announce(endpoints: Endpoints) -> None:
        print(_describe(endpoints, stack.endpoints_path), flush=True)
        print(f"ready after {time.monotonic() - started:.1f} s; Ctrl-C stops everything", flush=True)

    supervisor.run(announce)
    return 0


def _up(options: argparse.Namespace) -> int:
    data_dir: Path = options.data.resolve()
    if lock_holder(data_dir) is not None:
        raise StackFault(f"a stack runs on {data_dir} already; `eider stack status` says where")
    command = [sys.executable, "-m", "mailcore.cli", "stack", "run", "--data", str(data_dir)]
    command += ["--nodes", str(options.nodes)] if options.nodes else []
    for flag in ("new_ports", "databases_only", "no_demo"):
        command += [f"--{flag.replace('_', '-')}"] if getattr(options, flag) else []
    log_path = data_dir / "log" / "stack.log"
    try:
        log_path.parent.mkdir(parents=True, exist_ok=True)
        output = log_path.open("w+")
    except OSError as error:
        raise StackFault(f"cannot write to {log_path} ({error.strerror}): choose another folder with --data") from None
    with output:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
        until = time.monotonic() + UP_TIMEOUT_S
        while time.monotonic() < until:
            output.seek(0)
            text = output.read()
            if child.poll() is not None:
                print(text.strip(), file=sys.stderr)
                return 1
            if "ready after" in text:
                print(text.replace("; Ctrl-C stops everything", "; `eider stack down` stops everything").strip())
                return 0
            time.sleep(0.1)
    child.terminate()
    raise StackFault(f"the stack was not up within {UP_TIMEOUT_S:.0f} s; logs are in {data_dir / 'log'}")


def _down(options: argparse.Namespace) -> int:
    data_dir: Path = options.data.resolve()
    print("stopped" if end_holder(data_dir, DOWN_TIMEOUT_S) else f"nothing runs on {data_dir}")
    return 0


def _status(options: argparse.Namespace) -> int:
    data_dir: Path = options.data.resolve()
    holder = lock_holder(data_dir)
    if holder is None:
        print(f"nothing runs on {data_dir}")
        return 3
    print(f"process {holder} runs the stack on {data_dir}")
    path = data_dir / FILE_NAME
    if path.exists():
        print(_describe(Endpoints.read(path), path))
    return 0


def _exec(options: argparse.Namespace) -> int:
    if not options.command:
        raise StackFault("exec wants a command: eider stack exec -- COMMAND ...")
    command = options.command[1:] if options.command[0] == "--" else options.command
    with tempfile.TemporaryDirectory(prefix="eider-") as folder:
        stack = Stack(Path(folder) / "data", durable=False)
        stack.start()
        try:
            environment = os.environ | {"EIDER_TEST_STACK": str(stack.endpoints_path)}
            return subprocess.run(command, env=environment, check=False).returncode
        finally:
            stack.discard()


def _describe(endpoints: Endpoints, path: Path) -> str:
    """Return addresses, ports and passwords as a person wants to read them."""
    lines = [f"  {name:<11} {endpoints.host}:{port}" for name, port in endpoints.ports.items() if name not in WEB]
    lines += [
        f"  {name:<11} http://{host}:{endpoints.ports[name]}{path}"
        for name, (host, path) in WEB.items()
        if name in endpoints.ports
    ]
    if endpoints.api_token is not None:
        lines.append(f"  {'api token':<11} {endpoints.api_token}")
    lines += [f"  {'directory':<11} {endpoints.mongo.directory}"]
    for name, shard in endpoints.mongo.shards.items():
        lines += [f"  {'shard ' + name:<11} hot {shard.hot}", f"  {'':<11} cold {shard.cold}"]
    lines += [f"  {'postgres':<11} {endpoints.postgres}", f"  {'redis':<11} {endpoints.redis}"]
    if endpoints.members:
        lines += ["", "  portal member                 password            organisation"]
        lines += [f"  {one.email:<29} {one.password:<19} {one.organisation}" for one in endpoints.members]
    if endpoints.staff:
        lines += [
            "",
            "  staff of the platform         password            code     seed for an authenticator app",
        ]
        lines += [f"  {one.email:<29} {one.password:<19} {_code_of(one)}   {one.totp_seed}" for one in endpoints.staff]
    if endpoints.users:
        lines += ["", "  user                          password            tenant"]
        lines += [f"  {user.address:<29} {user.password:<19} {user.tenant}" for user in endpoints.users]
    lines += ["", f"  all of it: {path}"]
    return "\n".join(lines)


def _code_of(staff: DemoStaff) -> str:
    """Return the code that is good at this moment (RFC 6238)."""
    import pyotp

    return pyotp.TOTP(staff.totp_seed).now()
