"""The command line: ``python -m deploy STEP --stage dev|prod``.

Exit status: 0 done; 1 it could not be done, and one sentence says why; 2 wrong usage; 130 interrupted.
"""

# ruff: noqa: T201 - a command line prints

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from deploy import destroy, image, publish, smoke, stack
from deploy.account import Account, connect, explain
from deploy.api_key import operator_key
from deploy.errors import DeployError
from deploy.settings import STAGES, Target, read_target
from deploy.source import read_source
from zentrigger_client import ZentriggerError

EXIT_OK, EXIT_FAILED, EXIT_INTERRUPTED = 0, 1, 130
ROOT = Path(__file__).resolve().parent.parent

Step = Callable[[argparse.Namespace, Account, Target, Path], None]


def main(arguments: Sequence[str] | None = None, *, root: Path = ROOT) -> int:
    """Do one step and return the exit status."""
    options = _parser().parse_args(arguments)
    step: Step = options.step
    try:
        target = read_target(root / "samconfig.toml", options.stage)
        account = connect(target, options.region)
        _say(f"{options.name}: {target.stack_name} in {account.region}, account {account.account_id}")
        step(options, account, target, root)
    except (DeployError, ZentriggerError) as error:
        print(f"deploy: {error}", file=sys.stderr)
        return EXIT_FAILED
    except (ClientError, BotoCoreError) as error:
        print(f"deploy: {explain(error)}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return EXIT_OK


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--stage", choices=STAGES, required=True, help="a section of samconfig.toml")
    common.add_argument("--region", help="default: samconfig.toml, AWS_REGION, the profile")
    top = argparse.ArgumentParser(
        prog="python -m deploy", description="Deploy to AWS, step by step (docs/deploy.md). Each may be repeated."
    )
    steps = top.add_subparsers(required=True, metavar="STEP")

    def add(name: str, step: Step, text: str) -> argparse.ArgumentParser:
        parser = steps.add_parser(name, parents=[common], help=text, description=text)
        parser.set_defaults(step=step, name=name)
        return parser

    parser = add("image", _image, "Build the image of this commit and push it to ECR; nothing if it is there.")
    parser.add_argument("--repository", default=image.REPOSITORY, help="default: %(default)s")
    parser.add_argument("--build-options", default="", help="more options of docker buildx build, as one word")

    parser = add("stack", _stack, "sam deploy with that image.")
    parser.add_argument("--repository", default=image.REPOSITORY, help="default: %(default)s")
    parser.add_argument("--image-uri", help="another image than this commit's: repository@sha256:…")
    parser.add_argument("--sam", default="sam", help="the command that is SAM CLI; default: %(default)s")

    parser = add("publish", _publish, "Publish the pipelines, with an API key that is made the first time.")
    parser.add_argument("--modules", nargs="+", default=["pipelines"], help="default: pipelines")

    parser = add("smoke", _smoke, "Ask for /health, and run a pipeline to its end.")
    parser.add_argument("--pipeline", default="training_pipeline", help="default: %(default)s")
    parser.add_argument("--timeout", type=float, default=900.0, metavar="SECONDS", help="default: %(default)g")

    parser = add("destroy", _destroy, "Say what deleting the stack means; delete it with --yes.")
    parser.add_argument("--yes", action="store_true", help="do it")
    return top


def _image(options: argparse.Namespace, account: Account, target: Target, root: Path) -> None:
    source = read_source(root)
    if source.warning:
        print(f"deploy: warning: {source.warning}", file=sys.stderr)
    uri = image.publish_image(
        account,
        root=root,
        repository_name=options.repository,
        tag=source.image_tag(target.architecture),
        architecture=target.architecture,
        build_options=shlex.split(options.build_options),
        say=_say,
    )
    _say(f"the image: {uri}")


def _stack(options: argparse.Namespace, account: Account, target: Target, root: Path) -> None:
    uri = options.image_uri or _image_of_this_tree(options.repository, account, target, root)
    state = stack.deploy_stack(account, target, image=uri, root=root, sam=shlex.split(options.sam) or ["sam"], say=_say)
    for name, value in state.outputs.items():
        _say(f"{name}: {value}")


def _image_of_this_tree(repository_name: str, account: Account, target: Target, root: Path) -> str:
    tag = read_source(root).image_tag(target.architecture)
    ecr = account.client("ecr")
    repository = image.find_repository(ecr, repository_name)
    uri = None if repository is None else image.find_image(ecr, repository, tag)
    if uri is None:
        raise DeployError(
            f"ECR has no image {tag} in {repository_name}: make deploy-image STAGE={target.stage}, or give --image-uri."
        )
    return uri


def _publish(options: argparse.Namespace, account: Account, target: Target, root: Path) -> None:
    state = stack.deployed(account.client("cloudformation"), target)
    key = operator_key(account, target, state, root=root, say=_say)
    publish.publish(state.output("ApiUrl"), key, modules=options.modules, root=root)


def _smoke(options: argparse.Namespace, account: Account, target: Target, root: Path) -> None:
    state = stack.deployed(account.client("cloudformation"), target)
    key = operator_key(account, target, state, root=root, say=_say)
    smoke.smoke(state.output("ApiUrl"), key, pipeline=options.pipeline, timeout_seconds=options.timeout, say=_say)


def _destroy(options: argparse.Namespace, account: Account, target: Target, root: Path) -> None:
    del root
    destroy.destroy(account, target, yes=options.yes, say=_say)


def _say(text: str) -> None:
    print(f"deploy: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
