"""What `handlegrid up` shows at its end: one resolution hop by hop, and the commands for a product of one's own."""

import os
import shlex
import sys
from pathlib import Path
from typing import Final

import click

from deploy.commands.failure import ExitCode
from deploy.commands.resolve import ask_from_root, ask_server
from deploy.local.deployment import RECURSIVE, Deployment, usual_home
from deploy.local.ports import ADDRESS
from deploy.local.sample import FIRST_PRODUCT, PREFIX
from protocol.client import Question, format_hops, load_bundle
from protocol.handle import Handle

OWN_PRODUCT: Final = f"{PREFIX}/my-product"
OWN_RECORD: Final = (
    '{"values":['
    '{"index":1,"type":"URL","data":{"format":"string","value":"https://example.com/my-product"}},'
    '{"index":2,"type":"DESC","data":{"format":"string","value":"My first product"}}]}'
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
    secret = shlex.quote(str(deployment.secret_file(PREFIX)))
    sample = shlex.quote(str(deployment.home / "sample" / "machinery.csv"))
    user = f"300%3A{PREFIX}/ADMIN"  # Basic authentication ends the name at a colon
    return f"""
In a browser:
  {recursive}/{FIRST_PRODUCT}?noredirect
  {recursive}/api/handles/{FIRST_PRODUCT}?pretty

Register a product of your own (the password is read from the file of the node's administrator):
  curl -sS -X PUT {node_url}/api/handles/{OWN_PRODUCT} \\
    -u "{user}:$(cat {secret})" -H 'Content-Type: application/json' \\
    -d '{OWN_RECORD}'

Resolve it, from the root down or as a client of the recursive node:
  {program} resolve {OWN_PRODUCT} --trace{home}
  {program} resolve {OWN_PRODUCT} --server {deployment.address(RECURSIVE)}
  curl -sS '{recursive}/api/handles/{OWN_PRODUCT}?pretty'

Import a file (CSV with a header, or JSON Lines):
  {program} import {sample} --prefix {PREFIX} --node {PREFIX}{home}
"""
