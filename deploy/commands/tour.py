"""What `handlegrid up` shows at its end: one resolution hop by hop, and the commands for a product of one's own."""

import os
import shlex
import sys
from pathlib import Path
from typing import Final

import click

from deploy.commands.failure import ExitCode
from deploy.commands.resolve import ask_from_root, ask_server
from deploy.local.deployment import ENTERPRISE_KEY, RECURSIVE, Deployment, usual_home
from deploy.local.ports import ADDRESS
from deploy.local.sample import FIRST_PRODUCT, PREFIX
from protocol.client import Question, format_hops, load_bundle
from protocol.handle import Handle

OWN_PRODUCT: Final = f"{PREFIX}/my-product"
OWN_IDENTIFIER: Final = (
    f'{{"identifier":"{OWN_PRODUCT}","values":['
    '{"index":1,"type":"URL","data":"https://example.com/my-product"},'
    '{"index":2,"type":"DESC","data":"My first product"}]}'
)


async def show_tour(deployment: Deployment) -> ExitCode:
    """Resolve one product of the sample, from the root down and through the recursive node, and print all of it."""
    question = Question(handle=Handle.parse(FIRST_PRODUCT))
    walked = await ask_from_root(question, load_bundle(deployment.bundle_file))
    click.echo(f"\nA resolution from the root down, hop by hop: {FIRST_PRODUCT}\n")
    click.echo(format_hops(walked.hops))
    click.echo("\n" + walked.to_text())
    if walked.exit_code:
        return walked.exit_code
    asked = await ask_server(question, ADDRESS, deployment.ports[RECURSIVE].handle)
    click.echo("\nThe same from the recursive node, which did that walk for its client:\n")
    click.echo(format_hops(asked.hops))
    if asked.exit_code:
        click.echo(asked.to_text())
        return asked.exit_code
    click.echo(describe_next_steps(deployment, calling(deployment.home)))
    if sys.stdout.isatty() and deployment.key_file(PREFIX, ENTERPRISE_KEY).exists():
        click.echo(show_key(deployment))
    return ExitCode.DONE


def calling(home: Path) -> tuple[str, str]:
    """How the person calls the command, and the option for a data directory that is not the usual one."""
    program = Path(sys.argv[0]).absolute()
    shown = os.path.relpath(program) if program.is_relative_to(Path.cwd()) else str(program)
    return shlex.quote(shown), "" if home == usual_home() else f" --home {shlex.quote(str(home))}"


def describe_next_steps(deployment: Deployment, call: tuple[str, str]) -> str:
    """Commands to copy: look at the product in a browser, register one of one's own, resolve it, import a file."""
    program, home = call
    recursive = deployment.http_url(RECURSIVE)
    node_url = deployment.http_url(PREFIX)
    key = shlex.quote(str(deployment.key_file(PREFIX, ENTERPRISE_KEY)))
    sample = shlex.quote(str(deployment.home / "sample" / "machinery.csv"))
    return f"""
In a browser:
  {recursive}/{FIRST_PRODUCT}?noredirect
  {recursive}/api/handles/{FIRST_PRODUCT}?pretty
  {node_url}/api/v1/docs   (the reference of the API)

Register a product of your own, as the sample enterprise (its API key is read from a file by the shell):
  curl -sS {node_url}/api/v1/identifiers \\
    -H "Authorization: Bearer $(cat {key})" -H 'Content-Type: application/json' \\
    -d '{OWN_IDENTIFIER}'

Resolve it, as a client of the recursive node, or from the root down:
  curl -sS '{recursive}/api/handles/{OWN_PRODUCT}?pretty'
  {program} resolve {OWN_PRODUCT} --trace{home}

Or by command: register another one, list them, import a file (CSV with a header, or JSON Lines):
  {program} id register {PREFIX}/my-second URL=https://example.com/second --node {PREFIX}{home}
  {program} id list {PREFIX} --from my --node {PREFIX}{home}
  {program} import {sample} --prefix {PREFIX} --node {PREFIX}{home}
"""


def show_key(deployment: Deployment) -> str:
    """The API key of the sample enterprise, for the terminal alone; the same is in its file."""
    path = deployment.key_file(PREFIX, ENTERPRISE_KEY)
    head = f"The enterprise's API key, which registers below {PREFIX} alone (kept in {path}):"
    return f"{head}\n  {path.read_text().strip()}\n"
