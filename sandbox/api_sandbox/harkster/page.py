"""The page that shows all channels with their posts, as people would see them."""

from api_sandbox.harkster.service import Service


def render(service: Service) -> bytes:
    """The page as HTML."""
    return repr(service).encode()
