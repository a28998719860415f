"""The page that shows all channels with their posts, as their followers would see them."""

from html import escape
from importlib.resources import files

from api_sandbox.harkster.directory import Account, Channel
from api_sandbox.harkster.posts import Post
from api_sandbox.harkster.rendering import fields, moment
from api_sandbox.harkster.service import Service

_STYLE = files("api_sandbox.harkster").joinpath("page.css").read_text(encoding="utf-8")


def render(service: Service) -> bytes:
    """The page as HTML, with everything that it needs inside."""
    accounts = "".join(_account(service, account) for account in service.directory.accounts)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><title>Harkster sandbox</title><style>{_STYLE}</style></head>'
        "<body><header><h1>Harkster</h1><p>What was posted to the sandbox, newest first.</p></header>"
        f"<main>{accounts}</main></body></html>\n"
    ).encode()


def _account(service: Service, account: Account) -> str:
    used = service.posts.used(account)
    share = min(100, 100 * used // account.quota) if account.quota else 100
    quota = (
        f'<div class="quota"><div class="bar{" full" if used >= account.quota else ""}"><i style="width:{share}%"></i>'
        f"</div><span>{used} of {account.quota} posts this month</span></div>"
    )
    channels = "".join(
        _channel(service, channel)
        for workspace in account.workspaces
        for channel in workspace.channels
        if channel.access != "none"
    )
    head = f'<div class="account"><h2 dir="auto">{escape(account.name)}</h2>{quota}</div>'
    return f"<section>{head}{channels}</section>"


def _channel(service: Service, channel: Channel) -> str:
    posts = [post for post in reversed(service.posts.of_channel(channel)) if post.status != "deleted"]
    shown = f'<div class="posts">{"".join(map(_post, posts))}</div>' if posts else ""
    count = f"{_counted(len(posts), 'post')} · " if posts else "no posts yet · "
    return (
        f'<section class="channel{"" if posts else " empty"}" id="{channel.id}"><h3 dir="auto">'
        f'<span class="workspace">{escape(channel.workspace.name)} / </span>{escape(channel.name)}</h3>'
        f'<p class="about">{count}{_counted(channel.followers, "follower")}</p>{shown}</section>'
    )


def _post(post: Post) -> str:
    badges = '<span class="badge draft">Draft</span>' if post.status == "draft" else ""
    if post.publications > 1:
        badges += f'<span class="badge again">Published {post.publications} times</span>'
    if post.published_at is not None and post.status == "published":
        about = f"{escape(post.author.name)} · {moment(post.published_at.isoformat())}"
    else:
        about = "withdrawn" if post.publications else "nobody has seen it"
    title = escape(post.name) if post.name else "Post"
    return (
        f'<article class="{post.status}"><div class="title"><strong dir="auto">{title}</strong>{badges}</div>'
        f'<p class="about">{about}</p>{fields(post.dataset)}</article>'
    )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
